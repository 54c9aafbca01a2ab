// What a module of kernels offers to in_turn.cpp, with C names.
#pragma once
#include <cstddef>

extern "C" {
// Makes the cases, their operands in what `memory` gives, and returns how many they are.
int drover_cases(std::byte* (*memory)(size_t bytes));
const char* drover_case_name(int number);
void drover_run_case(int number);
}
