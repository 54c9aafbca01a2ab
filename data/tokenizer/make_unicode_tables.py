#!/usr/bin/env python3
"""Writes unicode_tables.cpp from Unicode's data. Run it in this folder, where PyPI's unicodedata2 16.0.0 and perl are:

    pip install unicodedata2==16.0.0 && python3 make_unicode_tables.py > unicode_tables.cpp && clang-format -i unicode_tables.cpp

General categories are Unicode 16.0's, as in tiktoken 0.14 and tokenizers 0.23. Normalization form C in tokenizers is that of Unicode 9.0,
which knows fewer characters (a character's own data never changes once it is assigned); perl tells when each was assigned."""
import subprocess
import unicodedata2 as unicode

assert unicode.unidata_version == "16.0.0"
CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn".split()
HANGUL = range(0xAC00, 0xD7A4)


def of_unicode_9():
    """The code points that Unicode 9.0 or an earlier version assigned."""
    program = r'use Unicode::UCD qw(prop_invmap); my ($first, $age) = prop_invmap("Age");' \
              r'print "$first->[$_] $age->[$_]\n" for 0 .. $#$first'
    starts = [line.split() for line in subprocess.check_output(["perl", "-e", program], text=True).splitlines()]
    known = set()
    for (first, age), (end, _) in zip(starts, starts[1:] + [["1114112", ""]]):
        if age != "Unassigned" and float(age.removeprefix("V").replace("_", ".")) <= 9.0:
            known.update(range(int(first), int(end)))
    return known


def runs(value_of):
    """(first code point, value) wherever the value changes."""
    result, last = [], None
    for code in range(0x110000):
        value = value_of(code)
        if value != last:
            result.append((code, value))
            last = value
    return result


def table(declaration, rows):
    print(f"{declaration} = {{")
    print(", ".join(rows))
    print("};\n")


def main():
    known = of_unicode_9()

    def decomposition(code):
        text = unicode.decomposition(chr(code))
        return [int(part, 16) for part in text.split()] if code in known and text and not text.startswith("<") else []

    def combining_class(code):
        return unicode.combining(chr(code)) if code in known else 0

    decomposed = [(code, decomposition(code)) for code in range(0x110000) if decomposition(code)]
    composed = [(parts, code) for code, parts in decomposed
                if len(parts) == 2 and unicode.normalize("NFC", "".join(map(chr, parts))) == chr(code)]
    seconds = {parts[1] for parts, _ in composed} | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
    changing = {code for code, _ in decomposed if unicode.normalize("NFC", chr(code)) != chr(code)}

    def inert(code):
        return not (combining_class(code) or code in seconds or code in changing)

    print("// Made by make_unicode_tables.py; not to be edited. Categories: Unicode 16.0.0. Normalization: Unicode 9.0.")
    print('#include "data/tokenizer/unicode_tables.h"\n')
    print("namespace drover {\nnamespace {\n")
    table("constexpr CategoryRange kCategories[]",
          ["{0x%x, Category::%s}" % run for run in runs(lambda code: unicode.category(chr(code)))])
    table("constexpr ClassRange kCombiningClasses[]", ["{0x%x, %d}" % run for run in runs(combining_class)])
    table("constexpr ClassRange kInert[]", ["{0x%x, %d}" % run for run in runs(lambda code: int(inert(code)))])
    table("constexpr Decomposition kDecompositions[]",
          ["{0x%x, 0x%x, 0x%x}" % (code, parts[0], parts[1] if len(parts) == 2 else 0) for code, parts in decomposed])
    table("constexpr Decomposition kCompositions[]",
          ["{0x%x, 0x%x, 0x%x}" % (code, *parts) for parts, code in sorted(composed)])
    print("}  // namespace\n")
    for name, kind, table_name in [("category_ranges", "CategoryRange", "kCategories"),
                                   ("combining_class_ranges", "ClassRange", "kCombiningClasses"),
                                   ("inert_ranges", "ClassRange", "kInert"),
                                   ("decompositions", "Decomposition", "kDecompositions"),
                                   ("compositions", "Decomposition", "kCompositions")]:
        print(f"std::span<const {kind}> {name}() {{ return {table_name}; }}")
    print("\n}  // namespace drover")


if __name__ == "__main__":
    main()
