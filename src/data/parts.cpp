// What parts of a data set are: files, rows of a stage, a subset, domains that are held out, what
// is submitted; and a data set with its layout.

#include "compress/base/strings.h"
#include "compress/data/dataset.h"
#include "compress/data/layouts.h"

namespace compress::data {

const recipe::Options<SubsetOptions>& SubsetOptions::options() {
  static const auto description =
      recipe::Options<SubsetOptions>("subset")
          .field("file", &SubsetOptions::file, "numbers of rows from 0, one a line")
          .field("fraction", &SubsetOptions::fraction,
                 "share of the rows of each class (without classes, of all), drawn by the seed; at "
                 "least one of each")
          .above(0)
          .field("per_class", &SubsetOptions::per_class, "so many rows of each class instead")
          .at_least(1)
          .field("seed", &SubsetOptions::seed, "of the draw")
          .at_least(0)
          .mark(&SubsetOptions::mark)
          .check([](const SubsetOptions& o, const recipe::Mark& mark, recipe::Problems& problems) {
            const int given = !o.file.empty() + o.fraction.has_value() + o.per_class.has_value();
            if (given != 1)
              problems.add(mark,
                           given == 0 ? "the subset says nothing" : "the subset is told twice",
                           "give one of file, fraction and per_class");
            if (o.fraction && *o.fraction > 1)
              problems.add(mark, "a fraction above 1", "0.1 is a tenth of the rows");
          });
  return description;
}

const recipe::Options<HeldOutOptions>& HeldOutOptions::options() {
  using O = HeldOutOptions;
  static const auto description =
      recipe::Options<O>("held-out domains")
          .field("column", &O::column, "column of what a row's domain is called")
          .required()
          .field("values", &O::values,
                 "domains whose rows are left out of the training and the validation part; of the "
                 "test part they alone are read, so that one file may serve all three")
          .required()
          .mark(&O::mark)
          .check([](const O& o, const recipe::Mark& mark, recipe::Problems& problems) {
            if (o.values.empty()) problems.add(mark, "no domain is held out", "values: [books]");
            if (o.column.find('{') != std::string::npos)
              problems.add(mark, "a domain's column is no template", "name one column");
          });
  return description;
}

const recipe::Options<SubmissionOptions>& SubmissionOptions::options() {
  static const auto description =
      recipe::Options<SubmissionOptions>("submission")
          .field("file", &SubmissionOptions::file, "rows without labels")
          .required()
          .field("text", &SubmissionOptions::text, "column of the text; left out, the data set's")
          .field("pair", &SubmissionOptions::pair, "the same of the second text")
          .field("id", &SubmissionOptions::id,
                 "column of what names a row; left out, its number from 0")
          .field("header", &SubmissionOptions::header,
                 "whether the first row names the columns; left out, the data set's")
          .field("as", &SubmissionOptions::as,
                 "name of the file that is written: .tsv with the columns index and prediction, or "
                 ".jsonl")
          .field("key", &SubmissionOptions::key, "jsonl: the key of a row's name (idx)")
          .field("clip", &SubmissionOptions::clip, "lowest and highest score")
          .mark(&SubmissionOptions::mark)
          .check(
              [](const SubmissionOptions& o, const recipe::Mark& mark, recipe::Problems& problems) {
                if (!o.clip.empty() && (o.clip.size() != 2 || o.clip[0] >= o.clip[1]))
                  problems.add(mark, "`clip` is the lowest and the highest score", "[0, 5]");
                if (o.as.find('/') != std::string::npos)
                  problems.add(mark, "`as` names a file, not a path",
                               "the folder is given with --submission");
              });
  return description;
}

}  // namespace compress::data

namespace compress::recipe {

namespace {

struct FromStage {
  RowsReference stage;
  static const Options<FromStage>& options() {
    static const auto description =
        Options<FromStage>("rows of a stage")
            .field("stage", &FromStage::stage, "an earlier stage that leaves rows")
            .required();
    return description;
  }
};

}  // namespace

std::string Type<data::Origin>::name() {
  return Type<std::string>::name();
}

Json Type<data::Origin>::schema() {
  return Json{{"anyOf",
               Json::array({Type<std::vector<std::string>>::schema(), Type<FromStage>::schema()})}};
}

bool Type<data::Origin>::read(const Node& node, data::Origin& value, Problems& problems) {
  value.mark = node.mark;
  if (node.kind == Node::Kind::list) {
    std::vector<std::string> files;
    if (!Type<std::vector<std::string>>::read(node, files, problems)) return false;
    value.file = join(files, " + ");
    return true;
  }
  if (node.kind != Node::Kind::map) return Type<std::string>::read(node, value.file, problems);
  FromStage from;
  if (!Type<FromStage>::read(node, from, problems)) return false;
  value.stage = from.stage;
  return true;
}

Node Type<data::Origin>::write(const data::Origin& value) {
  return value.stage.empty() ? Node::text(value.file) : Type<FromStage>::write({value.stage});
}

void Type<data::Origin>::references(const data::Origin& value, const std::string& path,
                                    std::vector<Referred>& found) {
  add_references(value.stage, path, found);
}

std::string Type<data::DatasetOptions>::name() {
  return data::DatasetOptions::options().info().name;
}

Json Type<data::DatasetOptions>::schema() {
  return struct_schema(data::DatasetOptions::options().info());
}

bool Type<data::DatasetOptions>::read(const Node& node, data::DatasetOptions& value,
                                      Problems& problems) {
  const size_t before = problems.list().size();
  const Node full = data::with_layout(node, problems);
  if (problems.list().size() == before)
    read_struct(data::DatasetOptions::options().info(), full, &value, problems);
  return problems.list().size() == before;
}

Node Type<data::DatasetOptions>::write(const data::DatasetOptions& value) {
  return write_struct(data::DatasetOptions::options().info(), &value);
}

void Type<data::DatasetOptions>::references(const data::DatasetOptions& value,
                                            const std::string& path, std::vector<Referred>& found) {
  find_references(data::DatasetOptions::options().info(), &value, path, found);
}

}  // namespace compress::recipe
