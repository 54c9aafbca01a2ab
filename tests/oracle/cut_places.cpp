// For prepare_oracle.py: each line of standard input is a text in hexadecimal; the places where it may be cut, a line a text.
#include <cstdio>
#include <iostream>
#include <string>

#include "data/utf8.h"

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    std::string text;
    for (size_t i = 0; i + 2 <= line.size(); i += 2) text += static_cast<char>(std::stoi(line.substr(i, 2), nullptr, 16));
    for (size_t at = 0; at <= text.size(); ++at)
      if (drover::may_cut(text, at)) std::printf("%zu ", at);
    std::printf("\n");
  }
}
