// GPT-2's way to write bytes as text: each byte is a printable character, so that tokens of any bytes can stand in JSON. Printable bytes of Latin-1
// are themselves; the others are U+0100 and on, in their order.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace drover {

std::array<uint8_t, 256> bytes_by_letter();                    // the bytes in the order of their letters
std::string to_letters(std::string_view bytes);                // as UTF-8
bool from_letters(std::string_view text, std::string& bytes);  // false where some character is no such letter

}  // namespace drover
