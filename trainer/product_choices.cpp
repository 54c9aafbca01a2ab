#include "trainer/product_choices.h"

#include <fmt/format.h>

#include <bit>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"

namespace drover {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void damaged(const std::string& what) {
  throw Error(ExitCode::resume, "the algorithms of matrix products are damaged: " + what);
}

DType dtype_from(const std::string& name) {
  for (const DType dtype : {DType::f32, DType::bf16})
    if (name == name_of(dtype)) return dtype;
  damaged("no products are of " + name);
}

std::string hexadecimal(const GemmAlgorithm& algorithm) {
  std::string text;
  for (const std::byte byte : algorithm) text += fmt::format("{:02x}", static_cast<unsigned>(byte));
  return text;
}

GemmAlgorithm algorithm_from(const std::string& text) {
  GemmAlgorithm algorithm;
  if (text.size() != 2 * algorithm.size() || text.find_first_not_of("0123456789abcdef") != std::string::npos)
    damaged(fmt::format("\"algorithm\" is not {} bytes in hexadecimal", algorithm.size()));
  for (size_t i = 0; i < algorithm.size(); ++i) algorithm[i] = std::byte(std::stoi(text.substr(2 * i, 2), nullptr, 16));
  return algorithm;
}

Json json_of(const GemmShape& s) {
  Json json{{"input", name_of(s.input)},
            {"output", name_of(s.output)},
            {"m", s.m},
            {"n", s.n},
            {"k", s.k},
            {"transpose_a", s.transpose_a},
            {"transpose_b", s.transpose_b},
            {"alignment", {s.align_a, s.align_b, s.align_c}}};
  if (s.bias) json["bias"] = true;
  return json;
}

GemmShape shape_from(const Json& json) {
  const Json& alignment = json.at("alignment");
  const GemmShape s{.output = dtype_from(json.at("output").get<std::string>()),
                    .input = dtype_from(json.at("input").get<std::string>()),
                    .transpose_a = json.at("transpose_a").get<bool>(),
                    .transpose_b = json.at("transpose_b").get<bool>(),
                    .m = json.at("m").get<int64_t>(),
                    .n = json.at("n").get<int64_t>(),
                    .k = json.at("k").get<int64_t>(),
                    .align_a = alignment.at(0).get<int64_t>(),
                    .align_b = alignment.at(1).get<int64_t>(),
                    .align_c = alignment.at(2).get<int64_t>(),
                    .bias = json.value("bias", false)};
  for (const int64_t bytes : {s.align_a, s.align_b, s.align_c})
    if (bytes < 1 || bytes > 256 || !std::has_single_bit(static_cast<uint64_t>(bytes)))
      damaged(fmt::format("an \"alignment\" of {} bytes", bytes));
  if (std::min({s.m, s.n, s.k}) < 1) damaged(fmt::format("a product of m {}, n {}, k {}", s.m, s.n, s.k));
  return s;
}

// What the body reads from the text; anything that JSON's reader objects to is damage.
template <class Body> auto read(const std::string& text, Body&& body) {
  try {
    return body(Json::parse(text));
  } catch (const Json::exception& error) {
    damaged(error.what());
  }
}

}  // namespace

std::string to_json(const ProductChoices& choices) {
  std::string lines;
  for (const auto& [shape, choice] : choices.products) {
    Json line = json_of(shape);
    line["microseconds"] = std::round(choice.timed.seconds * 1e8) / 1e2;
    line["candidate"] = choice.timed.candidate;
    line["candidates"] = choice.timed.candidates;
    line["rank"] = choice.rank;
    line["algorithm"] = hexadecimal(choice.timed.algorithm);
    lines += (lines.empty() ? "\n  " : ",\n  ") + line.dump();
  }
  return fmt::format("{{\"library\": {}, \"gpu\": {}, \"products\": [{}\n]}}\n", Json(choices.library).dump(),
                     Json(choices.gpu).dump(), lines);
}

ProductChoices choices_from_json(const std::string& text) {
  return read(text, [](const Json& json) {
    ProductChoices choices{json.at("library").get<std::string>(), json.at("gpu").get<std::string>(), {}};
    for (const Json& line : json.at("products")) {
      const GemmShape shape = shape_from(line);
      const TimedAlgorithm timed{algorithm_from(line.at("algorithm").get<std::string>()),
                                 line.at("microseconds").get<double>() / 1e6, line.at("candidate").get<int>(),
                                 line.at("candidates").get<int>()};
      if (!choices.products.emplace(shape, ProductChoice{timed, line.at("rank").get<int>()}).second)
        damaged(to_string(shape) + " is there twice");
    }
    return choices;
  });
}

std::string to_json(const std::vector<GemmShape>& shapes) {
  Json all = Json::array();
  for (const GemmShape& shape : shapes) all.push_back(json_of(shape));
  return all.dump();
}

std::vector<GemmShape> shapes_from_json(const std::string& text) {
  return read(text, [](const Json& json) {
    std::vector<GemmShape> shapes;
    for (const Json& each : json) shapes.push_back(shape_from(each));
    return shapes;
  });
}

}  // namespace drover
