// Compares resizeAsOnX86 with what blobFromImage makes of many images; says where they differ, and how many were equal.

#include <iostream>

#include <opencv2/dnn.hpp>

#include "resizing.hpp"

int main() {
    cv::RNG random(5);
    int equal = 0;
    for (int i = 0; i < 1200; ++i) {
        int rows = random.uniform(1, 130), columns = random.uniform(1, 130);
        const int height = random.uniform(1, 130), width = random.uniform(1, 130);
        if (i % 6 == 0) rows = 2 * height + (i % 4 == 0 ? random.uniform(0, 4) : 0);
        if (i % 6 == 0) columns = 2 * width;
        if (i % 6 == 1) columns = width;
        const bool crop = i % 2 == 1 || i % 12 == 0;
        cv::Mat image(rows, columns, i % 5 == 0 ? CV_8UC1 : CV_8UC3);
        random.fill(image, cv::RNG::UNIFORM, 0, 256);
        const cv::Size size(width, height);
        const cv::Mat blob = cv::dnn::blobFromImage(image, 1, size, cv::Scalar(), false, crop, CV_8U);
        const cv::Mat found =
            cv::dnn::blobFromImage(resizeAsOnX86(image, size, crop), 1, size, cv::Scalar(), false, false, CV_8U);
        if (std::equal(blob.ptr<uchar>(), blob.ptr<uchar>() + blob.total(), found.ptr<uchar>()))
            ++equal;
        else
            std::cout << columns << "x" << rows << " to " << width << "x" << height << (crop ? ", crop\n" : "\n");
    }
    std::cout << equal << " equal\n";
    return 0;
}
