#include "data/tokenizer/pattern_program.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "kernels/base/error.h"

namespace drover {
namespace {

constexpr size_t kMostInstructions = 4096;
constexpr int kMostRepetitions = 256;

// A piece of a pattern. Programs are made from it as often as a repetition says.
struct Node {
  enum class Kind { set, look, sequence, alternatives, repeat } kind = Kind::sequence;
  CodePointSet set = {};  // set, look
  bool negated = false;   // look
  std::vector<Node> children = {};
  int least = 0, most = -1;  // repeat; most -1: any number
  bool lazy = false;
};

class Parser {
 public:
  explicit Parser(std::string_view expression) : text_(expression), at_(text_.data()), end_(at_ + text_.size()) {}

  Node parse() {
    Node node = alternatives();
    if (at_ != end_) refuse("\")\" without \"(\"");
    return node;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ExitCode::data, fmt::format("pattern of words /{}/: {} at byte {}: this program does not know that form", text_,
                                            what, at_ - text_.data()));
  }
  bool more() const { return at_ != end_; }
  bool take(std::string_view what) {
    if (!std::string_view(at_, static_cast<size_t>(end_ - at_)).starts_with(what)) return false;
    at_ += what.size();
    return true;
  }
  char32_t next_code() {
    const auto [code, bytes] = decode_character(at_, end_);
    at_ += bytes;
    return code;
  }

  Node alternatives() {
    Node node{.kind = Node::Kind::alternatives};
    node.children.push_back(sequence());
    while (take("|")) node.children.push_back(sequence());
    return node;
  }
  Node sequence() {
    Node node{.kind = Node::Kind::sequence};
    while (more() && *at_ != '|' && *at_ != ')') node.children.push_back(repeated(atom()));
    return node;
  }
  Node atom() {
    if (take("(?!")) return look(true);
    if (take("(?=")) return look(false);
    if (take("(?i:")) return group(true);
    if (take("(?:")) return group(ignore_case_);
    if (take("(?")) refuse("a group of the form \"(?\"");
    if (take("(")) return group(ignore_case_);
    return {.kind = Node::Kind::set, .set = one_character()};
  }
  Node group(bool ignore_case) {
    const bool outer = std::exchange(ignore_case_, ignore_case);
    Node node = alternatives();
    if (!take(")")) refuse("\"(\" without \")\"");
    ignore_case_ = outer;
    return node;
  }
  Node look(bool negated) {
    Node node{.kind = Node::Kind::look, .set = one_character(), .negated = negated};
    if (!take(")")) refuse("a look ahead at more than one character");
    return node;
  }

  Node repeated(Node of) {
    if (!more()) return of;
    Node node{.kind = Node::Kind::repeat};
    if (take("?")) {
      node.most = 1;
    } else if (take("+")) {
      node.least = 1;
    } else if (!take("*")) {
      if (*at_ != '{') return of;
      counts(node);
    }
    if (of.kind == Node::Kind::look) refuse("a repeated look ahead");
    if (take("+")) refuse("a possessive repetition");
    node.lazy = take("?");
    node.children.push_back(std::move(of));
    if (more() && (*at_ == '*' || *at_ == '+' || *at_ == '?' || *at_ == '{')) refuse("a repetition of a repetition");
    return node;
  }
  void counts(Node& node) {
    const auto number = [&] {
      int value = -1;
      while (more() && *at_ >= '0' && *at_ <= '9') {
        value = std::max(value, 0) * 10 + (*at_++ - '0');
        if (value > kMostRepetitions) refuse(fmt::format("more than {} repetitions", kMostRepetitions));
      }
      return value;
    };
    ++at_;
    node.least = node.most = number();
    if (take(",")) node.most = number();
    if (node.least < 0 || (node.most >= 0 && node.most < node.least) || !take("}")) refuse("\"{\" that is not {m}, {m,} or {m,n}");
  }

  CodePointSet one_character() {
    if (!more()) refuse("an end where a character should be");
    if (take("[")) return bracket();
    if (take(".")) return CodePointSet('\n', '\n').complement();
    if (*at_ == '\\') return escaped();
    if (std::string_view("^$*+?{)|").find(*at_) != std::string_view::npos) refuse(fmt::format("\"{}\"", *at_));
    return folded(next_code());
  }
  CodePointSet folded(char32_t code) const {
    CodePointSet set(code, code);
    if (!ignore_case_) return set;
    if (code >= 0x80) refuse("a character beyond ASCII without regard to case");
    const char32_t lower = code | 0x20;
    if (lower < 'a' || lower > 'z') return set;
    set.add({lower, lower});
    set.add({lower & ~char32_t{0x20}, lower & ~char32_t{0x20}});
    if (lower == 's') set.add({0x17F, 0x17F});    // Unicode's simple case folding: long s
    if (lower == 'k') set.add({0x212A, 0x212A});  // and the Kelvin sign
    return set;
  }
  // REQUIRES: *at_ == '\\'
  CodePointSet escaped() {
    const char kind = at_ + 1 < end_ ? at_[1] : '\0';
    const auto taken = [this](const CodePointSet& set) { return at_ += 2, set; };
    const CodePointSet space = CodePointSet::white_space();
    switch (kind) {
      case 's': return taken(space);
      case 'S': return taken(space.complement());
      case 'd': return taken(category("Nd"));
      case 'D': return taken(category("Nd").complement());
      case 'p':
      case 'P': return property(kind == 'P');
      default: return folded(escaped_character());
    }
  }
  char32_t escaped_character() {
    const char kind = at_ + 1 < end_ ? at_[1] : '\0';
    static constexpr std::string_view kNames = "rntfv", kCodes = "\r\n\t\f\v";
    if (const size_t i = kNames.find(kind); i != std::string_view::npos && kind != '\0')
      return at_ += 2, static_cast<char32_t>(kCodes[i]);
    const bool punctuation = kind > ' ' && kind < 0x7F && !std::isalnum(static_cast<unsigned char>(kind));
    if (!punctuation && kind != ' ') refuse("this escape");
    return at_ += 2, static_cast<char32_t>(kind);
  }
  CodePointSet category(std::string_view name) const {
    CodePointSet set;
    if (!CodePointSet::of_category(name, set)) refuse(fmt::format("property \"{}\"", name));
    return set;
  }
  CodePointSet property(bool negated) {
    if (ignore_case_) refuse("a property without regard to case");
    const std::string_view rest(at_ + 2, static_cast<size_t>(end_ - at_ - 2));
    const size_t close = rest.find('}');
    if (!rest.starts_with('{') || close == std::string_view::npos) refuse("a property without braces");
    CodePointSet set = category(rest.substr(1, close - 1));
    at_ += 2 + close + 1;
    return negated ? set.complement() : set;
  }

  CodePointSet bracket() {
    const bool negated = take("^");
    CodePointSet set;
    for (bool first = true; first || !more() || *at_ != ']'; first = false) {
      if (!more()) refuse("\"[\" without \"]\"");
      if (*at_ == '[' || take("&&")) refuse("a set inside a set");
      set.add(bracket_item());
    }
    ++at_;
    return negated ? set.complement() : set;
  }
  CodePointSet bracket_item() {
    const bool is_set = *at_ == '\\' && at_ + 1 < end_ && std::string_view("sSdDpP").find(at_[1]) != std::string_view::npos;
    if (is_set) return escaped();
    const char32_t low = *at_ == '\\' ? escaped_character() : next_code();
    const bool range = end_ - at_ >= 2 && at_[0] == '-' && at_[1] != ']';
    if (!range) return folded(low);
    ++at_;
    const char32_t high = *at_ == '\\' ? escaped_character() : next_code();
    if (high < low) refuse("a range that runs backwards");
    if (ignore_case_) refuse("a range without regard to case");
    return {low, high};
  }

  std::string_view text_;
  const char *at_, *end_;
  bool ignore_case_ = false;
};

bool can_be_empty(const Node& node) {
  switch (node.kind) {
    case Node::Kind::set: return false;
    case Node::Kind::look: return true;
    case Node::Kind::sequence: return std::all_of(node.children.begin(), node.children.end(), can_be_empty);
    case Node::Kind::alternatives: return std::any_of(node.children.begin(), node.children.end(), can_be_empty);
    case Node::Kind::repeat: return node.least == 0 || can_be_empty(node.children[0]);
  }
  return false;
}

class Assembler {
 public:
  PatternProgram program;

  // Appends instructions that match `node` and then go on to what is appended next.
  void emit(const Node& node) {
    if (program.instructions.size() > kMostInstructions) throw Error(ExitCode::data, "pattern of words: too large");
    switch (node.kind) {
      case Node::Kind::set: add({.kind = PatternProgram::Kind::character, .set = set(node.set)}); break;
      case Node::Kind::look: add({.kind = PatternProgram::Kind::look, .set = set(node.set), .negated = node.negated}); break;
      case Node::Kind::sequence:
        for (const Node& child : node.children) emit(child);
        break;
      case Node::Kind::alternatives: emit_alternatives(node.children); break;
      case Node::Kind::repeat: emit_repeat(node); break;
    }
  }

 private:
  int size() const { return static_cast<int>(program.instructions.size()); }
  int add(PatternProgram::Instruction instruction) { return program.instructions.push_back(instruction), size() - 1; }
  int set(const CodePointSet& set) { return program.sets.push_back(set), static_cast<int>(program.sets.size()) - 1; }
  int add_split() { return add({.kind = PatternProgram::Kind::split}); }
  // The split goes into the next instruction or to `skip`; greedy: into first.
  void aim(int split, int into, int skip, bool lazy) {
    program.instructions[static_cast<size_t>(split)].first = lazy ? skip : into;
    program.instructions[static_cast<size_t>(split)].second = lazy ? into : skip;
  }

  void emit_alternatives(const std::vector<Node>& children) {
    std::vector<int> jumps;
    for (size_t i = 0; i < children.size(); ++i) {
      const bool last = i + 1 == children.size();
      const int split = last ? -1 : add_split();
      emit(children[i]);
      if (last) break;
      jumps.push_back(add_split());
      aim(split, split + 1, size(), false);
    }
    for (const int jump : jumps) aim(jump, size(), size(), false);
  }
  void emit_repeat(const Node& node) {
    const Node& child = node.children[0];
    for (int i = 0; i < node.least; ++i) emit(child);
    if (node.most < 0) {
      if (can_be_empty(child)) throw Error(ExitCode::data, "pattern of words: a repetition without end of what may be empty");
      const int split = add_split();
      emit(child);
      const int back = add_split();
      aim(back, split, split, false);
      aim(split, split + 1, size(), node.lazy);
      return;
    }
    std::vector<int> splits;
    for (int i = node.least; i < node.most; ++i) {
      splits.push_back(add_split());
      emit(child);
    }
    for (const int split : splits) aim(split, split + 1, size(), node.lazy);
  }
};

}  // namespace

PatternProgram parse_pattern(std::string_view expression) {
  const Node node = Parser(expression).parse();
  if (can_be_empty(node))
    throw Error(ExitCode::data, fmt::format("pattern of words /{}/: it can match without a character", expression));
  Assembler assembler;
  assembler.emit(node);
  assembler.program.instructions.push_back({.kind = PatternProgram::Kind::match});
  return std::move(assembler.program);
}

}  // namespace drover
