// What this program is, for manifests, messages and `drover --version`.
#pragma once
#include <string>

namespace drover {

std::string build_id();         // version, compiler and a hash of the program file: equal only for equal programs
std::string instruction_set();  // the library of matrix products and the instruction set that it chose on this processor

}  // namespace drover
