// Standard input of many files, each with the number of its bytes, and an answer in a line of JSON for each.

#pragma once

#include <cstdlib>
#include <iostream>
#include <string>

// A sentence is one line of UTF-8 without control characters: quotes and backslashes alone need an escape.
inline std::string quoted(const std::string& text) {
    std::string json = "\"";
    for (char letter : text) {
        if (letter == '"' || letter == '\\') json += '\\';
        json += letter;
    }
    return json + "\"";
}

// Answers each file by what `sentenceOf` says of its bytes, nothing where they are accepted. Returns the exit code.
template <class SentenceOf>
int answerAll(SentenceOf sentenceOf) {
    std::ios::sync_with_stdio(false);
    for (char header[10]; std::cin.read(header, 9);) {
        header[8] = '\0';
        std::string bytes(std::strtoul(header, nullptr, 16), '\0');
        if (!bytes.empty() && !std::cin.read(&bytes[0], static_cast<std::streamsize>(bytes.size()))) {
            std::cerr << "standard input ends in the middle of a file\n";
            return 1;
        }
        const std::string sentence = sentenceOf(bytes);
        std::cout << "{\"sentence\": " << (sentence.empty() ? "null" : quoted(sentence)) << "}\n";
    }
    return 0;
}
