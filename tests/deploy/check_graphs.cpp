// Checks many ONNX files with the C++ client, in one process, for the corpus and for fuzzing.
//
// Standard input and output as of read_manifests.cpp: {"sentence": ...} holds what stands behind the name of the file
// and a space. It is built in the same way, and needs no OpenCV.

#include "graph.hpp"
#include "reading.hpp"

int main() {
    return answerAll([](const string& bytes) {
        try {
            checkOnnx(bytes, "MODEL");
        } catch (const Failure& error) {
            return string(error.what()).substr(6);
        }
        return string();
    });
}
