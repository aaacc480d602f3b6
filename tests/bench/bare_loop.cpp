// What one would write: OpenCV, a thread that reads ahead, and nothing that is checked.
//
//     ./bare_loop MODEL WIDTH HEIGHT MEAN SCALE CROP FOLDER

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <opencv2/dnn.hpp>
#include <opencv2/imgcodecs.hpp>

#include <opencv2/core/utils/filesystem.hpp>

int main(int, char** arguments) {
    cv::dnn::Net net = cv::dnn::readNetFromONNX(arguments[1]);
    const cv::Size size(std::atoi(arguments[2]), std::atoi(arguments[3]));
    const double mean = std::atof(arguments[4]), scale = std::atof(arguments[5]);
    const bool crop = std::atoi(arguments[6]) != 0;
    std::vector<std::string> files;
    cv::utils::fs::glob(arguments[7], "*.jpg", files, true);
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<cv::Mat> waiting;
    std::thread reader([&] {
        for (const std::string& file : files) {
            cv::Mat image = cv::imread(file, cv::IMREAD_COLOR);
            std::unique_lock<std::mutex> lock(mutex);
            changed.wait(lock, [&] { return waiting.size() < 16; });
            waiting.push_back(image);
            changed.notify_all();
        }
    });
    for (const std::string& file : files) {
        cv::Mat image;
        {
            std::unique_lock<std::mutex> lock(mutex);
            changed.wait(lock, [&] { return !waiting.empty(); });
            image = waiting.front();
            waiting.pop_front();
            changed.notify_all();
        }
        net.setInput(cv::dnn::blobFromImage(image, scale, size, cv::Scalar::all(mean), true, crop, CV_32F));
        const cv::Mat output = net.forward();
        const float* const best = std::max_element(output.ptr<float>(), output.ptr<float>() + output.total());
        std::printf("%s: %d %.4f\n", file.c_str(), static_cast<int>(best - output.ptr<float>()), static_cast<double>(*best));
    }
    reader.join();
}
