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

#include "reading.hpp"
#include "schema.hpp"

int main() {
    return answerAll([](const string& text) {
        try {
            parseManifest(text, "MANIFEST");
        } catch (const Failure& error) {
            return string(error.what()).substr(8);
        }
        return string();
    });
}
