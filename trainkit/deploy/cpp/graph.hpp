// Whether a graph can be handed to OpenCV: what in it is known to end the process, or reads other files, is refused.
//
// OpenCV divides by strides and groups as they stand in the file, and follows names of files in it. What is asked here
// needs no shapes but those of constants, and is the same in every client.

#pragma once

#include <algorithm>
#include <set>

#include "json.hpp"
#include "onnx.hpp"

struct Bound {
    string attribute;
    std::int64_t least, most;
};

// Of a constant that an operator reads: bounds of each number and of their product, whether 0 or none may be.
struct Rule {
    string op;
    size_t input;
    double least, most;
    bool noZero;
    double product;
    bool some;
};

const double ANY = 9223372036854775808.0;
const int MAX_RANK = 32;                 // sides of an array in OpenCV 4
const double MAX_NUMBERS = 1 << 28;      // of one array: a gibibyte of float32
const size_t MAX_INPUTS = 4096;          // of one node
const std::int64_t MAX_EDGE = 16384;     // pixels
const std::int64_t MANY = 1 << 20;

// Of an operator's attributes: the least and the most that each of their whole numbers may be.
inline const std::map<string, std::vector<Bound>>& attributeBounds() {
    static const std::map<string, std::vector<Bound>> all = [] {
        const std::vector<Bound> window{{"kernel_shape", 1, MAX_EDGE}, {"strides", 1, MAX_EDGE},       {"dilations", 1, MAX_EDGE},
                                        {"pads", 0, MAX_EDGE},         {"group", 1, MANY},             {"output_padding", 0, MAX_EDGE},
                                        {"output_shape", 0, MAX_EDGE}};
        const std::vector<Bound> axis{{"axis", -MAX_RANK, MAX_RANK}, {"axes", -MAX_RANK, MAX_RANK}};
        const std::vector<Bound> heads{{"num_heads", 1, MANY}, {"q_num_heads", 1, MANY}, {"kv_num_heads", 1, MANY}};
        std::map<string, std::vector<Bound>> bounds{
            {"Transpose", {{"perm", 0, MAX_RANK - 1}}},    {"DepthToSpace", {{"blocksize", 1, 256}}},
            {"SpaceToDepth", {{"blocksize", 1, 256}}},     {"GroupNormalization", {{"num_groups", 1, MANY}}},
            {"LRN", {{"size", 1, MAX_EDGE}}},              {"Pad", {{"pads", -MAX_EDGE, MAX_EDGE}}},
            {"Tile", {{"tiles", 1, MANY}}}};
        for (const char* op : {"Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "DeformConv", "MaxPool", "AveragePool",
                               "LpPool", "MaxUnpool", "MaxRoiPool", "QLinearAveragePool", "Col2Im"})
            bounds[op] = window;
        for (const char* op : {"ArgMax", "ArgMin", "Concat", "Flatten", "Gather", "GatherElements", "Hardmax",
                               "LayerNormalization", "LogSoftmax", "Softmax", "ScatterElements", "Squeeze", "TopK", "Unsqueeze",
                               "OneHot", "Compress", "DequantizeLinear", "QuantizeLinear", "Slice", "ReduceL1", "ReduceL2",
                               "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
                               "ReduceSum", "ReduceSumSquare", "Split"})
            bounds[op] = axis;
        bounds["Split"].push_back({"split", 0, INT_MAX});
        bounds["Split"].push_back({"num_outputs", 1, MANY});
        for (const char* op : {"LSTM", "GRU", "RNN"}) bounds[op] = {{"hidden_size", 1, MANY}};
        for (const char* op : {"Attention", "MultiHeadAttention", "GroupQueryAttention", "RotaryEmbedding"}) bounds[op] = heads;
        return bounds;
    }();
    return all;
}

// Returns what holds for an input that is a constant, null where nothing does.
inline const Rule* ruleOf(const string& op, size_t input) {
    static const std::vector<Rule> all{{"Div", 1, -ANY, ANY, true, HUGE_VAL, false},
                                       {"Mod", 1, -ANY, ANY, true, HUGE_VAL, false},
                                       {"Range", 2, -ANY, ANY, true, HUGE_VAL, false},
                                       {"Slice", 1, -ANY, ANY, false, HUGE_VAL, true},
                                       {"Slice", 2, -ANY, ANY, false, HUGE_VAL, true},
                                       {"Slice", 3, -MAX_RANK, MAX_RANK, false, HUGE_VAL, false},
                                       {"Slice", 4, -MAX_EDGE, MAX_EDGE, true, HUGE_VAL, false},
                                       {"Pad", 1, -MAX_EDGE, MAX_EDGE, false, HUGE_VAL, false},
                                       {"Reshape", 1, -1, MAX_NUMBERS, false, HUGE_VAL, false},
                                       {"Expand", 1, 0, MAX_NUMBERS, false, MAX_NUMBERS, false},
                                       {"ConstantOfShape", 0, 0, MAX_NUMBERS, false, MAX_NUMBERS, false},
                                       {"Tile", 1, 1, MANY, false, MANY, false},
                                       {"Resize", 3, 1, MAX_NUMBERS, false, MAX_NUMBERS, false},
                                       {"Resize", 2, 1e-6, MAX_EDGE, false, HUGE_VAL, false},
                                       {"Upsample", 1, 1e-6, MAX_EDGE, false, HUGE_VAL, false},
                                       {"Split", 1, 0, INT_MAX, false, HUGE_VAL, false},
                                       {"CumSum", 1, -MAX_RANK, MAX_RANK, false, HUGE_VAL, false},
                                       {"OneHot", 1, 1, MAX_NUMBERS, false, HUGE_VAL, false},
                                       {"TopK", 1, 0, MAX_NUMBERS, false, HUGE_VAL, false},
                                       {"Squeeze", 1, -MAX_RANK, MAX_RANK, false, HUGE_VAL, false},
                                       {"Unsqueeze", 1, -MAX_RANK, MAX_RANK, false, HUGE_VAL, false}};
    for (const Rule& rule : all)
        if (rule.op == op && rule.input == input) return &rule;
    return nullptr;
}

// So many inputs an operator must name, the first ones; those that make something of nothing none.
inline size_t leastInputs(const string& op) {
    static const std::map<string, size_t> known{
        {"Conv", 2},   {"ConvTranspose", 2}, {"ConvInteger", 2}, {"DeformConv", 2}, {"Gemm", 2}, {"MatMul", 2}, {"PRelu", 2},
        {"Gather", 2}, {"Add", 2},           {"Sub", 2},         {"Mul", 2},        {"Div", 2},  {"Mod", 2},    {"Pow", 2},
        {"Reshape", 2}, {"Expand", 2},       {"Range", 3},       {"BatchNormalization", 5},
        {"", 0},       {"Constant", 0},      {"RandomNormal", 0}, {"RandomUniform", 0}, {"SequenceEmpty", 0}, {"Optional", 0},
        {"PriorBox", 0}, {"If", 0},          {"Loop", 0},        {"Scan", 0},       {"Input", 0}, {"Dummy", 0}};
    const auto found = known.find(op);
    return found == known.end() ? 1 : found->second;
}

// Of these the second input, where it is a constant: how many sides it must have, at least and at most.
inline const std::pair<size_t, size_t>* weightSides(const string& op) {
    static const std::map<string, std::pair<size_t, size_t>> known{
        {"Conv", {3, 5}}, {"ConvTranspose", {3, 5}}, {"Gemm", {1, 10}}, {"MatMul", {1, 10}}, {"PRelu", {0, 10}}};
    const auto found = known.find(op);
    return found == known.end() ? nullptr : &found->second;
}

// Holds graphs against these tables. `name` is what a sentence calls the file.
class GraphCheck {
public:
    GraphCheck(const std::vector<std::shared_ptr<Graph>>& graphs, const string& name) : name_(name) {
        std::deque<std::shared_ptr<Graph>> waiting(graphs.begin(), graphs.end());
        for (; !waiting.empty(); waiting.pop_front()) {
            check(*waiting.front());
            for (const GraphNode& node : waiting.front()->nodes)
                for (const Attribute& attribute : node.attributes)
                    waiting.insert(waiting.end(), attribute.graphs.begin(), attribute.graphs.end());
        }
        checkNames(*graphs[0]);
    }

private:
    using Constants = std::map<string, Tensor>;

    [[noreturn]] void refuse(const string& reason) const {
        throw Failure(name_ + " is not safe to load: " + reason + ". Copy or export the network again.");
    }
    static string shownName(const string& name) { return "`" + harmless(shorten(name)) + "`"; }
    static string titleOf(const GraphNode& node) {
        const string name = !node.name.empty() || node.outputs.empty() ? node.name : node.outputs[0];
        return harmless("`" + shorten(name) + "` (" + shorten(node.op) + ")");
    }
    template <class Number>
    static string shownList(const std::vector<Number>& numbers) {
        string list;
        for (size_t i = 0; i < std::min<size_t>(8, numbers.size()); ++i)
            list += (i ? ", " : "") + shown(static_cast<double>(numbers[i]));
        return "[" + list + (numbers.size() > 8 ? ", ...]" : "]");
    }

    void check(const Graph& graph) const {
        Constants constants;
        for (const Tensor& tensor : graph.constants) {
            if (!tensor.name.empty() && constants.count(tensor.name)) refuse("there are two constants " + shownName(tensor.name));
            constants[tensor.name] = tensor;
            checkTensor(tensor, "the constant " + shownName(tensor.name));
        }
        for (const GraphNode& node : graph.nodes) {
            const string where = "the node " + titleOf(node);
            for (const Attribute& attribute : node.attributes)
                for (const Tensor& tensor : attribute.tensors) checkTensor(tensor, "the constant in " + where);
            if (node.op == "Constant" && !node.outputs.empty()) remember(node, constants);
            checkAttributes(node, where);
            checkInputs(node, where);
            checkConstants(node, constants, where);
        }
    }

    void checkTensor(const Tensor& tensor, const string& what) const {
        if (tensor.external)
            throw Failure(name_ + " keeps " + what + " in another file, which could be any file of this machine. Save it "
                                                     "with all its weights inside (`onnx.save(onnx.load(path), path)`).");
        for (std::int64_t side : tensor.sides)
            if (side < 0) refuse(what + " has a side below 0 (" + shownList(tensor.sides) + ")");
        if (tensor.stored == -1 || tensor.stored == tensor.wanted()) return;
        const string holds =
            tensor.stored < 0 ? "a broken number of bytes" : shown(static_cast<double>(tensor.stored)) + " numbers";
        refuse(what + " holds " + holds + ". Expected " + shown(static_cast<double>(tensor.wanted())) + " for its shape " +
               shownList(tensor.sides));
    }

    static void remember(const GraphNode& node, Constants& constants) {
        for (const Attribute& attribute : node.attributes) {
            if (!attribute.tensors.empty()) constants[node.outputs[0]] = attribute.tensors.back();
            if (attribute.wholes.empty()) continue;
            Tensor tensor;
            tensor.kind = 7;
            tensor.stored = static_cast<std::int64_t>(attribute.wholes.size());
            tensor.sides = {tensor.stored};
            tensor.isKnown = tensor.stored <= 4096;
            tensor.wholes = attribute.wholes;
            constants[node.outputs[0]] = tensor;
        }
    }

    void checkAttributes(const GraphNode& node, const string& where) const {
        const auto bounds = attributeBounds().find(node.op);
        if (bounds == attributeBounds().end()) return;
        for (const Bound& bound : bounds->second) {
            const Attribute* const found = node.attribute(bound.attribute);
            const string what = "`" + bound.attribute + "` of " + where + " must ";
            if (!found) continue;
            if (found->wholes.empty() && (found->hasFloats || !found->text.empty() || bound.attribute == "group"))
                refuse(what + "hold whole numbers. Received: another type");
            for (std::int64_t number : found->wholes)
                if (number < bound.least || number > bound.most)
                    refuse(what + "be from " + std::to_string(bound.least) + " to " + std::to_string(bound.most) +
                           ". Received: " + shown(static_cast<double>(number)));
        }
    }

    void checkInputs(const GraphNode& node, const string& where) const {
        if (!node.domain.empty() && node.domain != "ai.onnx") return;
        if (node.inputs.size() > MAX_INPUTS)
            refuse(where + " must have at most " + std::to_string(MAX_INPUTS) +
                   " inputs. Received: " + std::to_string(node.inputs.size()));
        // OpenCV's own message about such a name may end the process, too.
        for (char letter : node.op)
            if (letter < ' ' || letter > '~' || letter == '\\') refuse(where + " names no operator");
        const size_t least = leastInputs(node.op);
        for (size_t i = 0; i < least; ++i)
            if (i >= node.inputs.size() || node.inputs[i].empty())
                refuse(where + " must have " + std::to_string(least) + (least > 1 ? " inputs" : " input") +
                       ". Received: none as number " + std::to_string(i + 1));
        const auto isNamed = [](const string& name) { return !name.empty(); };
        if (node.op == "Resize" && std::count_if(node.inputs.begin(), node.inputs.end(), isNamed) < 2)
            refuse(where + " must have scales or sizes. Received: neither");
    }

    void checkConstants(const GraphNode& node, const Constants& constants, const string& where) const {
        checkDivision(node, constants, where);
        for (size_t i = 0; i < std::min<size_t>(5, node.inputs.size()); ++i) {
            const auto found = constants.find(node.inputs[i]);
            if (found == constants.end()) continue;
            const Tensor& tensor = found->second;
            if (i == 1) checkWeights(node, tensor, where);
            if (i == 1 && node.op == "GroupNormalization") checkGroupCount(node, tensor, where);
            const Rule* const rule = ruleOf(node.op, i);
            // A division of floats by 0 has an answer.
            const bool wholeOnly = node.op == "Div" || node.op == "Mod" || node.op == "Range";
            if (rule && tensor.isKnown && !(tensor.isFloat && wholeOnly))
                checkValues(*rule, tensor, "input " + std::to_string(i + 1) + " of " + where);
        }
    }

    void checkWeights(const GraphNode& node, const Tensor& tensor, const string& where) const {
        const std::pair<size_t, size_t>* const sides = weightSides(node.op);
        if (!sides) return;
        if (tensor.kind == 8 || tensor.wanted() == 0)
            refuse("the weights of " + where + " must be numbers, and some. Received: " +
                   (tensor.kind == 8 ? "text" : "the shape " + shownList(tensor.sides)));
        if (tensor.sides.size() < sides->first || tensor.sides.size() > sides->second)
            refuse("the weights of " + where + " must have " + std::to_string(sides->first) + " to " +
                   std::to_string(sides->second) + " sides. Received: the shape " + shownList(tensor.sides));
    }

    // The least whole number divided by -1 has no answer of its own type.
    void checkDivision(const GraphNode& node, const Constants& constants, const string& where) const {
        if ((node.op != "Div" && node.op != "Mod") || node.inputs.size() < 2) return;
        const auto first = constants.find(node.inputs[0]), second = constants.find(node.inputs[1]);
        if (first == constants.end() || second == constants.end()) return;
        for (const auto& one : {first, second})
            if (!one->second.isKnown || one->second.isFloat || !one->second.isSigned) return;
        const auto holds = [](const Tensor& tensor, std::int64_t number) {
            return std::count(tensor.wholes.begin(), tensor.wholes.end(), number) > 0;
        };
        if ((holds(first->second, INT32_MIN) || holds(first->second, INT64_MIN)) && holds(second->second, -1))
            refuse(where + " divides the least whole number by -1, which has no answer");
    }

    void checkGroupCount(const GraphNode& node, const Tensor& tensor, const string& where) const {
        const Attribute* const found = node.attribute("num_groups");
        for (std::int64_t number : found ? found->wholes : std::vector<std::int64_t>())
            if (number > tensor.wanted())
                refuse("`num_groups` of " + where + " must be at most " + std::to_string(tensor.wanted()) +
                       ", as there are scales. Received: " + std::to_string(number));
    }

    void checkValues(const Rule& rule, const Tensor& tensor, const string& what) const {
        const std::vector<double> values =
            tensor.isFloat ? tensor.floats : std::vector<double>(tensor.wholes.begin(), tensor.wholes.end());
        if (rule.some && values.empty()) refuse(what + " must hold numbers. Received: none");
        double product = 1;
        for (double value : values) {
            if (!(value >= rule.least && value <= rule.most))  // so written, NaN is refused too
                refuse(what + " must be from " + shown(rule.least) + " to " + shown(rule.most) + ". Received: " + shown(value));
            if (rule.noZero && value == 0) refuse(what + " must not be 0, by which nothing can be divided");
            product *= std::fabs(value);
        }
        if (product > rule.product)
            refuse(what + " asks for more than " + shown(rule.product) + " numbers. Received: " + shownList(values));
    }

    // Refuses a node that reads what none before it makes, and a convolution whose input has other sides than its weights.
    void checkNames(const Graph& graph) const {
        std::set<string> known{""};
        std::map<string, size_t> declared, weights;
        for (const GraphInput& input : graph.inputs) known.insert(input.name), declared[input.name] = input.sides.size();
        for (const Tensor& tensor : graph.constants) known.insert(tensor.name), weights[tensor.name] = tensor.sides.size();
        for (const GraphNode& node : graph.nodes) {
            for (const string& name : node.inputs)
                if (!known.count(name))
                    refuse("the node " + titleOf(node) + " reads " + shownName(name) + ", which none before it makes");
            known.insert(node.outputs.begin(), node.outputs.end());
            if ((node.op != "Conv" && node.op != "ConvTranspose") || node.inputs.size() < 2) continue;
            const size_t sides = declared.count(node.inputs[0]) ? declared[node.inputs[0]] : 0;
            const size_t kernel = weights.count(node.inputs[1]) ? weights[node.inputs[1]] : 0;
            if (sides && kernel && sides != kernel)
                refuse("the node " + titleOf(node) + " has weights of " + std::to_string(kernel) +
                       " sides for an input of " + std::to_string(sides));
        }
    }

    string name_;
};

// Raises unless OpenCV can be tried on the bytes of an ONNX file, as far as that can be said without trying.
inline void checkOnnx(const string& bytes, const string& name) {
    std::vector<std::shared_ptr<Graph>> graphs;
    try {
        graphs = OnnxReader(bytes).graphs;
    } catch (const Failure& error) {
        throw Failure(name + " is no ONNX file (" + error.what() + "). Copy or export it again.");
    }
    GraphCheck(graphs, name);
}
