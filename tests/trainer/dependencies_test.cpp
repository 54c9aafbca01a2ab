// The order between streams against a brute-force search of paths: every conflict is ordered, and no wait can be left out.
#include "trainer/dependencies.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace drover {
namespace {

using Kind = Resource::Kind;
using Moments = std::vector<Dependencies::Moment>;

struct Piece {
  Purpose purpose;
  int64_t tick;
  std::vector<Access> accesses;
  Moments waits;
};

bool conflict(const Piece& a, const Piece& b) {
  for (const Access& x : a.accesses)
    for (const Access& y : b.accesses)
      if (x.resource == y.resource && (x.writes || y.writes)) return true;
  return false;
}

// By piece: whether it is done before the last one begins, by the order of streams and the waits, without one of the last one's.
std::vector<bool> done_before_last(const std::vector<Piece>& pieces, size_t without) {
  std::vector<bool> done(pieces.size(), false);
  done.back() = true;
  for (size_t i = pieces.size(); i-- > 0;) {
    if (!done[i]) continue;
    for (size_t j = 0; j < i; ++j) {
      if (pieces[j].purpose == pieces[i].purpose) done[j] = true;
      for (size_t w = 0; w < pieces[i].waits.size(); ++w)
        if (!(i + 1 == pieces.size() && w == without))
          done[j] = done[j] || pieces[i].waits[w] == Dependencies::Moment{pieces[j].purpose, pieces[j].tick};
    }
  }
  return done;
}

// Conflicts of the last piece with one whose end it does not wait for.
int races(const std::vector<Piece>& pieces, size_t settled, size_t without = SIZE_MAX) {
  const std::vector<bool> done = done_before_last(pieces, without);
  int count = 0;
  for (size_t i = settled; i + 1 < pieces.size(); ++i) count += !done[i] && conflict(pieces[i], pieces.back());
  return count;
}

TEST(Dependencies, EveryConflictIsOrderedAndEveryWaitIsNeeded) {
  int64_t waits = 0, conflicts = 0;
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    Dependencies dependencies;
    std::vector<Piece> pieces;
    for (int i = 0; i < 60; ++i) {
      Piece piece{static_cast<Purpose>(random() % kPurposes), 0, {}, {}};
      for (unsigned n = random() % 3; n > 0; --n)
        piece.accesses.push_back({{Kind::weights, static_cast<int>(random() % 5)}, random() % 3 == 0});
      piece.waits = dependencies.add(piece.purpose, piece.accesses);
      piece.tick = dependencies.ticks(piece.purpose);
      pieces.push_back(piece);
      ASSERT_EQ(races(pieces, 0), 0) << "seed " << seed << ", piece " << i;
      for (size_t w = 0; w < piece.waits.size(); ++w) ASSERT_GT(races(pieces, 0, w), 0) << "seed " << seed << ", piece " << i;
      waits += static_cast<int64_t>(piece.waits.size());
      for (size_t j = 0; j + 1 < pieces.size(); ++j) conflicts += conflict(pieces[j], pieces.back());
    }
  }
  EXPECT_GT(waits, 1000);
  EXPECT_GT(conflicts, 5 * waits) << "most are ordered by other waits";
}

TEST(Dependencies, WhatTheHostHasSeenEndIsNotWaitedFor) {
  Dependencies dependencies;
  const Access writes{{Kind::weights, 0}, true}, other{{Kind::weights, 1}, true};
  dependencies.add(Purpose::copies, std::vector{other});
  dependencies.add(Purpose::reductions, std::vector{writes});
  EXPECT_EQ(dependencies.add(Purpose::compute, std::vector{writes}), (Moments{{Purpose::reductions, 1}}));
  dependencies.settled(Purpose::compute);
  EXPECT_EQ(dependencies.add(Purpose::transfers, std::vector{writes}), Moments{}) << "compute had waited for reductions";
  EXPECT_EQ(dependencies.add(Purpose::transfers, std::vector{other}), (Moments{{Purpose::copies, 1}})) << "but not for copies";
}

TEST(Dependencies, WorkOfLongAgoIsStillWaitedFor) {
  Dependencies dependencies;
  const Access x{{Kind::batch, 0}, true}, y{{Kind::batch, 1}, true};
  dependencies.add(Purpose::copies, std::vector{x});
  dependencies.add(Purpose::transfers, std::vector{y});
  const Access none{{Kind::batch, 2}, false};
  for (int64_t i = 0; i < Dependencies::kRing; ++i)
    for (const Purpose purpose : {Purpose::copies, Purpose::transfers}) dependencies.add(purpose, std::vector{none});
  const int64_t place = Dependencies::kRing + 1;
  EXPECT_EQ(dependencies.add(Purpose::compute, std::vector{x, y}),
            (Moments{{Purpose::transfers, place}, {Purpose::copies, place}}));
}

}  // namespace
}  // namespace drover
