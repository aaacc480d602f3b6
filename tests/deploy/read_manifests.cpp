// Reads many manifests with the C++ client, in one process, for the corpus and for fuzzing.
//
// Standard input: for each manifest, the number of its bytes in eight hexadecimal digits, a newline, and the bytes.
// Standard output: for each a line of JSON, {"sentence": null} where it is accepted, else {"sentence": "..."}, what was
// wrong: the message behind the name of the manifest, as `: expected a JSON object. ...`. All are read, whatever the ones
// before were.
//
//     c++ -std=c++11 -O2 -I trainkit/deploy/cpp tests/deploy/read_manifests.cpp -o read_manifests
//
// It needs no OpenCV. For fuzzing, add -g -fsanitize=address,undefined -fno-sanitize-recover=all.

#include <iostream>

#include "schema.hpp"

namespace {

// A manifest is refused in sentences that begin with its name.
const string WHERE = "MANIFEST";

string sentenceOf(const string& text) {
    try {
        parseManifest(text, WHERE);
        return "";
    } catch (const Failure& error) {
        return string(error.what()).substr(WHERE.size());
    }
}

// A sentence is one line of UTF-8 without control characters: quotes and backslashes alone need an escape.
string quoted(const string& text) {
    string json = "\"";
    for (char letter : text) {
        if (letter == '"' || letter == '\\') json += '\\';
        json += letter;
    }
    return json + "\"";
}

}  // namespace

int main() {
    std::ios::sync_with_stdio(false);
    for (char header[10]; std::cin.read(header, 9);) {
        header[8] = '\0';
        string text(std::strtoul(header, nullptr, 16), '\0');
        if (!text.empty() && !std::cin.read(&text[0], static_cast<std::streamsize>(text.size()))) {
            std::cerr << "read_manifests: standard input ends in the middle of a manifest\n";
            return 1;
        }
        const string sentence = sentenceOf(text);
        std::cout << "{\"sentence\": " << (sentence.empty() ? "null" : quoted(sentence)) << "}\n";
    }
    return 0;
}
