#include "trainer/report/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "parallel/schedule_clock.h"
#include "trainer/engine.h"
#include "trainer/programs.h"
#include "trainer/report/html.h"

namespace drover::report {
namespace {

constexpr int kMostRows = 16, kMostColumns = 32, kMostStages = 16;

// Ranks by their place: a row for each dp coordinate, in it one rank for each (pp, cp, tp).
std::vector<std::vector<int>> ranks_by_place(const Mesh& mesh) {
  const int columns = mesh.size() / mesh.dp();
  std::vector<std::vector<int>> rows(static_cast<size_t>(mesh.dp()), std::vector<int>(static_cast<size_t>(columns)));
  for (int rank = 0; rank < mesh.size(); ++rank) {
    const int column =
        (mesh.coordinate(rank, Axis::pp) * mesh.size(Axis::cp) + mesh.coordinate(rank, Axis::cp)) * mesh.size(Axis::tp) +
        mesh.coordinate(rank, Axis::tp);
    rows[static_cast<size_t>(mesh.dp_coordinate(rank))][static_cast<size_t>(column)] = rank;
  }
  return rows;
}

std::string mesh_head(const Mesh& mesh, int shown) {
  const int a_stage = mesh.size(Axis::cp) * mesh.size(Axis::tp);
  std::string stages, ranks;
  for (int begin = 0; begin < shown; begin += a_stage)
    stages += fmt::format(R"(<th class="stage" colspan="{}">pp {}</th>)", std::min(a_stage, shown - begin), begin / a_stage);
  for (int column = 0; column < shown; ++column)
    ranks += fmt::format(R"(<th{}>tp {}</th>)", column % a_stage == 0 ? R"( class="stage")" : "", column % mesh.size(Axis::tp));
  return fmt::format("<thead><tr><th></th>{}</tr><tr><th></th>{}</tr></thead>", stages, ranks);
}

}  // namespace

std::string mesh_table(const Mesh& mesh) {
  const std::vector<std::vector<int>> rows = ranks_by_place(mesh);
  const int columns = static_cast<int>(rows.front().size()), shown = std::min(columns, kMostColumns);
  const int a_stage = mesh.size(Axis::cp) * mesh.size(Axis::tp);
  std::string body;
  for (int dp = 0; dp < std::min(mesh.dp(), kMostRows); ++dp) {
    body += fmt::format("<tr><th>dp {}</th>", dp);
    for (int column = 0; column < shown; ++column)
      body += fmt::format("<td{}>{}</td>", column % a_stage == 0 ? R"( class="stage")" : "",
                          rows[static_cast<size_t>(dp)][static_cast<size_t>(column)]);
    body += "</tr>";
  }
  std::string more;
  if (mesh.dp() > kMostRows) more += fmt::format(" {} more rows (dp) like these are not shown.", grouped(mesh.dp() - kMostRows));
  if (columns > shown) more += fmt::format(" {} more columns are not shown.", grouped(columns - shown));
  return fmt::format(
      R"(<p>Each number is a rank. A row is one data-parallel replica; its columns are the pipeline stages (pp), each )"
      R"(divided among its tensor-parallel ranks (tp).{}</p>)"
      R"(<div class="wide"><table class="mesh">{}<tbody>{}</tbody></table></div>)"
      "\n",
      more, mesh_head(mesh, shown), body);
}

std::string schedule_picture(const Config& config, const Mesh& mesh) {
  constexpr int kSlot = 22, kRow = 24, kLabel = 58;
  const PipelineShape whole = pipeline_shape(config, mesh);
  if (whole.stages > kMostStages) return fmt::format("<p>{} stages are too many for a picture.</p>\n", whole.stages);
  PipelineShape shape = whole;
  shape.microbatches = std::min(whole.microbatches, 2 * whole.stages + 4);
  std::string boxes;
  const int slots = run_clock(
      make_schedule(ScheduleKind::one_f_one_b, shape), shape,
      [&](const Action& action, int begin, int end) {
        const bool forward = action.op == Op::forward;
        boxes += fmt::format(R"(<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="3"/><text x="{:.1f}" y="{}">{}</text>)",
                             forward ? "forward" : "backward", kLabel + begin * kSlot + 1, action.stage * kRow + 1,
                             (end - begin) * kSlot - 2, kRow - 4, kLabel + 0.5 * (begin + end) * kSlot, action.stage * kRow + 15,
                             action.microbatch);
      },
      [](const Action&) {});
  for (int stage = 0; stage < shape.stages; ++stage)
    boxes += fmt::format(R"(<text class="label" x="0" y="{}">stage {}</text>)", stage * kRow + 15, stage);
  const double bubble = bubble_fraction(make_schedule(ScheduleKind::one_f_one_b, whole), whole);
  const std::string part =
      shape.microbatches == whole.microbatches
          ? fmt::format("{} micro-batches", whole.microbatches)
          : fmt::format("the first {} of {} micro-batches, as if they were all", shape.microbatches, grouped(whole.microbatches));
  return fmt::format(R"(<p>The schedule of a step, by micro-batch: <span class="key keyforward">forward</span> )"
                     R"(<span class="key keybackward">backward</span>, a backward taking twice a forward's time; {}. )"
                     R"(Idle share of the whole step: {:.1f} %.</p>)"
                     R"(<div class="wide"><svg class="schedule" width="{}" height="{}" viewBox="0 0 {} {}" )"
                     R"(role="img" aria-label="pipeline schedule">{}</svg></div>)"
                     "\n",
                     part, 100 * bubble, kLabel + slots * kSlot, shape.stages * kRow, kLabel + slots * kSlot, shape.stages * kRow,
                     boxes);
}

std::string memory_of_stages(const Config& config, const Mesh& mesh) {
  const int stages = std::min(mesh.size(Axis::pp), kMostStages);
  std::vector<std::string> categories;
  std::vector<std::map<std::string, int64_t>> bytes;
  int64_t worst = 1;
  const Programs programs = make_programs(config, mesh);
  std::string head = "<th></th>";
  for (int stage = 0; stage < stages; ++stage) {
    const Arena memory = measure_memory(config, mesh, mesh.rank_of({0, 0, stage, 0, 0}), programs);
    std::map<std::string, int64_t> mine;
    for (const std::string& category : memory.categories()) {
      if (std::find(categories.begin(), categories.end(), category) == categories.end()) categories.push_back(category);
      mine[category] = memory.used_by(category);
    }
    mine["total"] = memory.used();
    bytes.push_back(std::move(mine));
    worst = std::max(worst, memory.used());
    head += fmt::format(R"(<th class="number">stage {}</th>)", stage);
  }
  categories.emplace_back("total");
  std::string body;
  for (const std::string& category : categories) {
    body += fmt::format(R"(<tr{}><th>{}</th>)", category == "total" ? R"( class="total")" : "", escape(category));
    for (auto& mine : bytes)
      body += fmt::format(R"(<td class="number" title="{} bytes">{}<span class="bar" style="width:{:.1f}%"></span></td>)",
                          grouped(mine[category]), bytes_text(mine[category]),
                          100 * static_cast<double>(mine[category]) / static_cast<double>(worst));
    body += "</tr>";
  }
  const std::string more = mesh.size(Axis::pp) > stages ? fmt::format(" The first {} stages are shown.", stages) : "";
  return fmt::format(R"(<p>Planned before the first step, and then fixed: tensor memory of a rank of each pipeline stage.{}</p>)"
                     R"(<div class="wide"><table class="memory"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>)"
                     "\n",
                     more, head, body);
}

}  // namespace drover::report
