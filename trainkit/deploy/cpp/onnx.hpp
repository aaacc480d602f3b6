// An ONNX file, read as far as it takes to judge it: protobuf without its schema; weights are looked at, not copied.

#pragma once

#include <climits>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "text.hpp"

const size_t MAX_NODES = 100000;
const int MAX_SUBGRAPHS_DEEP = 24;        // protobuf itself ends at 100 messages in each other
const size_t MAX_PACKED_BYTES = 1 << 20;  // of whole numbers of which a few are expected
const std::int64_t BEYOND = std::int64_t(1) << 62;

struct Bytes {
    const char* data;
    size_t size;
};

// What stands in a field: a whole number, or bytes.
struct Field {
    bool isWhole;
    std::uint64_t whole;
    Bytes bytes;
};

// Throws what is no protobuf message. Source: https://protobuf.dev/programming-guides/encoding
class Wire {
public:
    explicit Wire(Bytes bytes) : bytes_(bytes) {}

    bool more() const { return at_ < bytes_.size; }

    std::uint64_t varint() {
        std::uint64_t value = 0;
        for (unsigned i = 0; i < 10 && more(); ++i) {
            const std::uint64_t byte = static_cast<unsigned char>(bytes_.data[at_++]);
            value |= (byte & 127) << (7 * i);
            if (byte < 128) return value;
        }
        throw Failure("it is no protobuf message, or ends in the middle");
    }

    // Reads a field; its number is returned.
    std::uint64_t next(Field& field) {
        const std::uint64_t key = varint(), kind = key & 7;
        field = {kind == 0, 0, {"", 0}};
        if (kind == 0) field.whole = varint();
        else {
            const std::uint64_t size = kind == 2 ? varint() : kind == 1 ? 8 : kind == 5 ? 4 : UINT64_MAX;
            if (size > bytes_.size - at_ || key < 8) throw Failure("it is no protobuf message, or ends in the middle");
            field.bytes = {bytes_.data + at_, static_cast<size_t>(size)};
            at_ += static_cast<size_t>(size);
        }
        return key >> 3;
    }

private:
    Bytes bytes_;
    size_t at_ = 0;
};

// The fields of a message by their numbers, each with all that stands there.
struct Message {
    std::map<std::uint64_t, std::vector<Field>> fields;

    explicit Message(Bytes bytes) {
        Field field;
        for (Wire wire(bytes); wire.more();) {
            const std::uint64_t number = wire.next(field);
            fields[number].push_back(field);
        }
    }

    const std::vector<Field>& all(std::uint64_t number) const {
        static const std::vector<Field> none;
        const auto found = fields.find(number);
        return found == fields.end() ? none : found->second;
    }
    std::vector<Bytes> messages(std::uint64_t number) const {
        std::vector<Bytes> found;
        for (const Field& field : all(number))
            if (!field.isWhole) found.push_back(field.bytes);
        return found;
    }
    // The last text in a field; bytes that are not UTF-8 are written out.
    string text(std::uint64_t number) const {
        const std::vector<Bytes> found = messages(number);
        return found.empty() ? "" : textOf(found.back());
    }
    static string textOf(Bytes bytes) {
        const string raw(bytes.data, bytes.size);
        string text;
        std::uint32_t code = 0;
        for (size_t at = 0, length = 0; at < raw.size(); at += length ? length : 1) {
            length = letterAt(raw, at, code);
            text += length ? raw.substr(at, length) : harmless(raw.substr(at, 1));
        }
        return text;
    }
    // The whole numbers in a field, one by one or packed.
    std::vector<std::int64_t> wholes(std::uint64_t number) const {
        std::vector<std::int64_t> found;
        for (const Field& field : all(number)) {
            if (field.isWhole) found.push_back(static_cast<std::int64_t>(field.whole));
            if (field.isWhole) continue;
            if (field.bytes.size > MAX_PACKED_BYTES)
                throw Failure("it has more than " + std::to_string(MAX_PACKED_BYTES) +
                              " bytes of numbers where a few are expected");
            for (Wire wire(field.bytes); wire.more();) found.push_back(static_cast<std::int64_t>(wire.varint()));
        }
        return found;
    }
};

// A constant.
struct Tensor {
    string name;
    std::vector<std::int64_t> sides;  // as they are declared
    std::int64_t kind = 0;            // TensorProto.DataType
    std::int64_t stored = 0;          // how many numbers lie there; -1 where that cannot be said, -2 where it is not even
    bool external = false;            // said to lie in another file
    // Of a usual kind and few: its numbers, as whole ones or floats.
    bool isKnown = false, isFloat = false, isSigned = true;
    std::vector<std::int64_t> wholes;
    std::vector<double> floats;

    // How many numbers its shape asks for.
    std::int64_t wanted() const {
        std::int64_t count = 1;
        for (std::int64_t side : sides)
            if (side == 0) return 0;
        for (std::int64_t side : sides) count = side > BEYOND / count ? BEYOND : count * side;
        return count;
    }
};

struct Graph;

// An attribute of a node: all that it holds, whatever type it says that it has.
struct Attribute {
    string name;
    std::vector<std::int64_t> wholes;
    bool hasFloats = false;
    string text;
    std::vector<Tensor> tensors;
    std::vector<std::shared_ptr<Graph>> graphs;
};

// An input or output that is left out has the name "".
struct GraphNode {
    string op, name, domain;
    std::vector<string> inputs, outputs;
    std::vector<Attribute> attributes;

    const Attribute* attribute(const string& called) const {
        for (const Attribute& one : attributes)
            if (one.name == called) return &one;
        return nullptr;
    }
};

struct GraphInput {
    string name;
    std::vector<std::int64_t> sides;  // -1 for one that may change; none where none are declared
};

struct Graph {
    std::vector<GraphNode> nodes;
    std::vector<Tensor> constants;
    std::vector<GraphInput> inputs;
};

// Reads the graphs of a file: the main one first, then functions and training. Those within them are theirs.
class OnnxReader {
public:
    explicit OnnxReader(const string& bytes) {
        const Message file(Bytes{bytes.data(), bytes.size()});
        std::vector<Bytes> trainings;
        for (Bytes one : file.messages(20)) {
            const Message training(one);
            trainings.push_back(merged(training, 1));
            trainings.push_back(merged(training, 2));
        }
        graphs.push_back(graph(merged(file, 7), 0));
        for (Bytes one : file.messages(25)) graphs.push_back(function(one));
        for (Bytes one : trainings) graphs.push_back(graph(one, 0));
    }
    std::vector<std::shared_ptr<Graph>> graphs;

private:
    // The one message in a field, empty where there is none; protobuf makes one of several.
    Bytes merged(const Message& message, std::uint64_t number) {
        const std::vector<Bytes> found = message.messages(number);
        if (found.empty()) return {"", 0};
        if (found.size() == 1) return found[0];
        joined_.emplace_back();
        for (Bytes one : found) joined_.back().append(one.data, one.size);
        return {joined_.back().data(), joined_.back().size()};
    }

    std::shared_ptr<Graph> graph(Bytes bytes, int depth) {
        if (depth > MAX_SUBGRAPHS_DEEP)
            throw Failure("its graphs are nested more than " + std::to_string(MAX_SUBGRAPHS_DEEP) + " deep");
        const Message message(bytes);
        const std::shared_ptr<Graph> all = std::make_shared<Graph>();
        Graph& found = *all;
        std::vector<Tensor> sparse;
        for (Bytes one : message.messages(15)) addSparse(one, sparse);
        found.nodes = nodes(message.messages(1), depth);
        for (Bytes one : message.messages(5)) found.constants.push_back(tensor(one));
        found.constants.insert(found.constants.end(), sparse.begin(), sparse.end());
        for (Bytes one : message.messages(11)) found.inputs.push_back(input(one));
        for (Bytes one : message.messages(12)) Message{one};  // must be one
        return all;
    }

    std::shared_ptr<Graph> function(Bytes bytes) {
        const Message message(bytes);
        GraphNode defaults;
        for (Bytes one : message.messages(11)) defaults.attributes.push_back(attribute(Message(one), 0));
        const std::shared_ptr<Graph> found = std::make_shared<Graph>();
        found->nodes = nodes(message.messages(7), 0);
        if (!defaults.attributes.empty()) found->nodes.push_back(defaults);
        return found;
    }

    std::vector<GraphNode> nodes(const std::vector<Bytes>& found, int depth) {
        if (found.size() > MAX_NODES)
            throw Failure("it has " + std::to_string(found.size()) + " nodes; no image network has more than " +
                          std::to_string(MAX_NODES));
        std::vector<GraphNode> all;
        for (Bytes one : found) all.push_back(node(one, depth));
        return all;
    }

    GraphNode node(Bytes bytes, int depth) {
        const Message message(bytes);
        GraphNode found;
        std::map<string, size_t> places;
        for (Bytes one : message.messages(5)) {
            const Attribute next = attribute(Message(one), depth);
            const auto known = places.insert({next.name, found.attributes.size()});
            if (known.second) found.attributes.push_back(next);
            else join(found.attributes[known.first->second], next);
        }
        found.op = message.text(4);
        found.name = message.text(3);
        for (Bytes one : message.messages(1)) found.inputs.push_back(Message::textOf(one));
        for (Bytes one : message.messages(2)) found.outputs.push_back(Message::textOf(one));
        found.domain = message.text(7);
        return found;
    }

    Attribute attribute(const Message& message, int depth) {
        Attribute found;
        found.name = message.text(1);
        std::vector<Tensor> sparse;
        for (std::uint64_t number : {22u, 23u})
            for (Bytes one : message.messages(number)) addSparse(one, sparse);
        const Bytes only = merged(message, 5), onlyGraph = merged(message, 6);
        if (only.size) found.tensors.push_back(tensor(only));
        for (Bytes one : message.messages(10)) found.tensors.push_back(tensor(one));
        found.tensors.insert(found.tensors.end(), sparse.begin(), sparse.end());
        size_t floats = 0;
        for (std::uint64_t number : {2u, 7u})
            for (Bytes one : message.messages(number)) floats += one.size;
        found.hasFloats = floats >= 4;
        found.wholes = message.wholes(3);
        for (std::int64_t whole : message.wholes(8)) found.wholes.push_back(whole);
        found.text = message.text(4);
        if (onlyGraph.size) found.graphs.push_back(graph(onlyGraph, depth + 1));
        for (Bytes one : message.messages(11)) found.graphs.push_back(graph(one, depth + 1));
        return found;
    }

    // Of two attributes of one name, who reads them may take the one or the other.
    static void join(Attribute& first, const Attribute& second) {
        first.wholes.insert(first.wholes.end(), second.wholes.begin(), second.wholes.end());
        first.hasFloats = first.hasFloats || second.hasFloats;
        first.text = second.text;
        first.tensors.insert(first.tensors.end(), second.tensors.begin(), second.tensors.end());
        first.graphs.insert(first.graphs.end(), second.graphs.begin(), second.graphs.end());
    }

    void addSparse(Bytes bytes, std::vector<Tensor>& found) {
        const Message message(bytes);
        for (std::uint64_t number : {1u, 2u})
            for (Bytes one : message.messages(number)) found.push_back(tensor(one));
    }

    Tensor tensor(Bytes bytes) {
        const Message message(bytes);
        const std::vector<std::int64_t> kinds = message.wholes(2);
        Tensor found;
        found.name = message.text(8);
        found.sides = message.wholes(1);
        found.kind = kinds.empty() ? 0 : kinds.back();
        for (const Field& field : message.all(14)) found.external = found.external || (field.isWhole && field.whole == 1);
        found.external = found.external || !message.all(13).empty();
        store(found, message);
        return found;
    }

    // Of a data type: the bytes of a number in `raw_data`, and the field of those that are written one by one.
    static bool layoutOf(std::int64_t kind, size_t& size, std::uint64_t& field) {
        static const std::map<std::int64_t, std::pair<size_t, std::uint64_t>> layouts{
            {1, {4, 4}},  {2, {1, 5}},  {3, {1, 5}},   {4, {2, 5}},  {5, {2, 5}},   {6, {4, 5}},  {7, {8, 7}},  {9, {1, 5}},
            {10, {2, 5}}, {11, {8, 10}}, {12, {4, 11}}, {13, {8, 11}}, {16, {2, 5}}, {17, {1, 5}}, {18, {1, 5}}, {19, {1, 5}},
            {20, {1, 5}}};
        const auto found = layouts.find(kind);
        if (found == layouts.end()) return false;
        size = found->second.first;
        field = found->second.second;
        return true;
    }

    // Counts what is stored, and takes the numbers where they are few.
    void store(Tensor& found, const Message& message) {
        size_t size = 0;
        std::uint64_t field = 0;
        found.stored = found.kind == 8 ? static_cast<std::int64_t>(message.messages(6).size()) : -1;
        if (!layoutOf(found.kind, size, field)) return;
        const std::vector<Bytes> all = message.messages(9);
        const size_t wide = field == 4 ? 4 : field == 10 ? 8 : 0;
        Bytes raw = all.empty() ? Bytes{"", 0} : all.back();  // `raw_data` is one value: the last counts
        if (!raw.size && wide) {
            raw = merged(message, field);
            raw.size -= raw.size % wide;
        }
        if (raw.size || wide) found.stored = raw.size % size ? -2 : static_cast<std::int64_t>(raw.size / size);
        else found.stored = countWholes(message.all(field));
        const bool usual = found.kind <= 3 || found.kind == 6 || found.kind == 7 || found.kind == 9 || found.kind == 11;
        if (!usual || found.external || found.stored < 0 || found.stored > 4096) return;
        found.isKnown = true;
        found.isFloat = found.kind == 1 || found.kind == 11;
        found.isSigned = found.isFloat || !raw.size || (found.kind != 2 && found.kind != 9);
        if (!raw.size && !wide) found.wholes = message.wholes(field);
        for (size_t at = 0; at + size <= raw.size; at += size) take(found, raw.data + at, size);
    }
    static std::int64_t countWholes(const std::vector<Field>& fields) {
        std::int64_t count = 0;
        for (const Field& field : fields) {
            count += field.isWhole;
            for (size_t i = 0; i < field.bytes.size; ++i) count += static_cast<unsigned char>(field.bytes.data[i]) < 128;
        }
        return count;
    }
    // Takes a number that lies there with its lowest byte first.
    static void take(Tensor& found, const char* data, size_t size) {
        std::uint64_t bits = 0;
        for (size_t i = size; i-- > 0;) bits = bits << 8 | static_cast<unsigned char>(data[i]);
        const std::uint32_t low = static_cast<std::uint32_t>(bits);
        float single;
        double wide;
        std::int32_t half;
        std::int64_t whole;
        std::memcpy(&single, &low, sizeof single);
        std::memcpy(&wide, &bits, sizeof wide);
        std::memcpy(&half, &low, sizeof half);
        std::memcpy(&whole, &bits, sizeof whole);
        if (found.isFloat) found.floats.push_back(size == 4 ? static_cast<double>(single) : wide);
        else if (size == 1) found.wholes.push_back(found.isSigned && whole > 127 ? whole - 256 : whole);
        else found.wholes.push_back(size == 4 ? half : whole);
    }

    GraphInput input(Bytes bytes) {
        const Message message(bytes);
        const Message tensor(merged(Message(merged(message, 2)), 1));
        GraphInput found{message.text(1), {}};
        if (tensor.all(2).empty()) return found;
        for (Bytes one : Message(merged(tensor, 2)).messages(1)) {
            const std::vector<std::int64_t> side = Message(one).wholes(1);
            found.sides.push_back(side.empty() ? -1 : side.back());
        }
        return found;
    }

    std::deque<string> joined_;
};
