// Manifest and checkpoint directories: reading, checking, naming.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "trainer/checkpoint/manifest.pb.h"
#include "trainer/checkpoint/piece.h"

namespace drover {

pb::State to_proto(const RunState& state);
RunState from_proto(const pb::State& state);
Shape shape_of(const google::protobuf::RepeatedField<int64_t>& dims);

// Bytes of manifest.pb: the message, then its XXH3.
std::string encode_manifest(const pb::Manifest& manifest);
// Checks the checksum before a byte is parsed, then every offset and extent against the file sizes it states, and the step against the
// directory's name. Throws Error(resume).
pb::Manifest load_manifest(const std::filesystem::path& checkpoint);

std::string step_directory_name(int64_t step);       // "step_00001000"
int64_t step_of_directory(const std::string& name);  // -1: not a checkpoint's name
// Newest first; none where `checkpoints` does not exist. Throws Error(resume) when it cannot be read.
std::vector<std::filesystem::path> step_directories(const std::filesystem::path& checkpoints);

// A file is hashed in stripes, so that several ranks can verify it, none of them reading all of a large tensor.
inline constexpr int64_t kStripeBytes = 1 << 20;

// What is wrong with one stored file, "" when its size matches. check_stripes also reads stripes first, first + every, ..., compares their
// hashes, and adds the bytes that it read to `bytes_read`; check_file reads all of them.
std::string check_size(const std::filesystem::path& checkpoint, const pb::File& file);
std::string check_stripes(const std::filesystem::path& checkpoint, const pb::File& file, int64_t first, int64_t every,
                          int64_t& bytes_read);
std::string check_file(const std::filesystem::path& checkpoint, const pb::File& file);

}  // namespace drover
