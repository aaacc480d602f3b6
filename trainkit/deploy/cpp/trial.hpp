// A network tried in a process of its own, so that nothing but that process can die of it.

#pragma once

#include "network.hpp"

#ifdef _WIN32
inline void tryNetwork(const string&) {}  // there is no fork
#else

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

const unsigned TRIAL_SECONDS = 120;                      // a hundred times what the largest network of Keras takes
const std::int64_t TRIAL_BYTES = std::int64_t(6) << 30;  // of memory, and ten times the file
const char* const TRIAL_ADVICE = "Take another file or, if you trust this one, open it in Python with `trial=False`.";

inline string signalName(int number) {
    for (const auto& known : {std::make_pair(SIGFPE, "SIGFPE"), std::make_pair(SIGSEGV, "SIGSEGV"), std::make_pair(SIGABRT, "SIGABRT"),
                              std::make_pair(SIGBUS, "SIGBUS"), std::make_pair(SIGILL, "SIGILL"), std::make_pair(SIGKILL, "SIGKILL")})
        if (known.first == number) return known.second;
    return "signal " + std::to_string(number);
}

inline void limit(decltype(RLIMIT_AS) kind, std::int64_t most) {
    struct rlimit now;
    if (getrlimit(kind, &now) != 0) return;
    if (now.rlim_max == RLIM_INFINITY || static_cast<rlim_t>(most) < now.rlim_max) now.rlim_cur = static_cast<rlim_t>(most);
    setrlimit(kind, &now);  // where the system can
}

// Is the other process: says through a pipe what went wrong.
[[noreturn]] inline void answerTrial(const string& bundle, const Manifest& manifest, int answers) {
    string sentence;
    try {
        const int nowhere = open("/dev/null", O_WRONLY);
        for (int output : {STDOUT_FILENO, STDERR_FILENO}) dup2(nowhere, output);  // OpenCV prints, too
        alarm(TRIAL_SECONDS);
        limit(RLIMIT_CORE, 0);
        const string model = cv::utils::fs::join(manifest.folder, manifest.file);
        limit(RLIMIT_AS, TRIAL_BYTES + 10 * (isFile(model) ? sizeOf(model) : 0));
        cv::setNumThreads(std::min(4, cv::getNumThreads()));  // each takes room, and there may be hundreds
        // A place in an array or a divisor that is computed from pixels may fit for a blank image only.
        Network network(bundle);
        cv::Mat image = cv::Mat::zeros(manifest.size, CV_8UC3);
        network.run(image);
        cv::randu(image, cv::Scalar::all(0), cv::Scalar::all(256));
        network.run(image);
    } catch (const std::bad_alloc&) {
        sentence = "The network needs more than 6 GiB of memory. " + string(TRIAL_ADVICE);
    } catch (const std::exception& error) {
        sentence = reasonOf(error);
    }
    sentence += '\n';
    const bool written = write(answers, sentence.data(), sentence.size()) == static_cast<ssize_t>(sentence.size());
    _exit(written ? 0 : 1);  // a damaged network may die as it is taken down, which the parent only does at its end
}

// Throws where another process cannot open the network of a bundle and run it once, or dies of it. Call it before
// anything of OpenCV has started threads.
inline void tryNetwork(const string& bundle) {
    const Manifest manifest = readManifest(bundle);
    const string model = cv::utils::fs::join(manifest.folder, manifest.file);
    int ends[2];
    const pid_t child = pipe(ends) == 0 ? fork() : -1;
    if (child < 0)
        throw Failure(model + " must be tried in a process of its own, and none can be started here (" +
                      std::strerror(errno) + "). Close other programs.");
    if (child == 0) {
        close(ends[0]);
        answerTrial(bundle, manifest, ends[1]);
    }
    close(ends[1]);
    string said;
    char part[4096];
    for (ssize_t count; (count = read(ends[0], part, sizeof part)) != 0;) {
        if (count < 0 && errno != EINTR) break;
        if (count > 0) said.append(part, static_cast<size_t>(count));
    }
    close(ends[0]);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    if (said == "\n") return;
    if (!said.empty() && said.back() == '\n') throw Failure(said.substr(0, said.size() - 1));
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        throw Failure(model + " did not answer within " + std::to_string(TRIAL_SECONDS) + " seconds in a trial. " + TRIAL_ADVICE);
    const string death = WIFSIGNALED(status) ? signalName(WTERMSIG(status)) : "exit code " + std::to_string(WEXITSTATUS(status));
    throw Failure("OpenCV " + cv::getVersionString() + " dies of " + model + " (" + death + "). " + TRIAL_ADVICE);
}

#endif
