// The data of a training stage: one data set, or several.

#include <algorithm>

#include "compress/base/strings.h"
#include "compress/train/options.h"

namespace compress::train {

const recipe::Options<MixOptions>& MixOptions::options() {
  static const auto description =
      recipe::Options<MixOptions>("mixture")
          .field("mix", &MixOptions::mix,
                 "data sets with their weights: the shares of an epoch, before sizes count")
          .required()
          .field("temperature", &MixOptions::temperature,
                 "also mixes by size^(1/temperature): 1 in proportion to the sizes, more is more "
                 "even; left out, sizes do not count")
          .above(0)
          .field("cap", &MixOptions::cap,
                 "rows that a data set counts at most when sizes count (then with temperature 1 "
                 "unless told)")
          .at_least(1)
          .field("epoch", &MixOptions::epoch,
                 "rows of an epoch; left out, those of all data sets together")
          .at_least(1)
          .field("validation", &MixOptions::validation,
                 "the data set whose validation and test parts are scored; left out, the first")
          .mark(&MixOptions::mark)
          .check([](const MixOptions& o, const recipe::Mark& mark, recipe::Problems& problems) {
            if (o.mix.size() < 2)
              problems.add(mark, "a mixture of less than two data sets",
                           "name the data set alone: `data: NAME`");
            for (const auto& [name, place, weight] : o.mix)
              if (!(weight > 0))
                problems.add(place, str("the weight ", shortest(weight), " is not above 0"));
            if (!o.validation.empty() &&
                std::none_of(o.mix.begin(), o.mix.end(),
                             [&](const auto& source) { return source.name == o.validation.name; }))
              problems.add(o.validation.mark,
                           "'" + o.validation.name + "' is no data set of the mixture");
          });
  return description;
}

std::vector<recipe::DataReference> TrainingData::sources() const {
  if (!mixture) return {*this};
  std::vector<recipe::DataReference> list;
  for (const auto& source : mixture->mix) {
    list.emplace_back(source.name);
    list.back().mark = source.mark;
  }
  return list;
}

}  // namespace compress::train

namespace compress::recipe {

using train::MixOptions;
using train::TrainingData;

std::string Type<TrainingData>::name() {
  return Type<std::string>::name();
}

Json Type<TrainingData>::schema() {
  return Json{{"anyOf", Json::array({Type<std::string>::schema(), Type<MixOptions>::schema()})}};
}

bool Type<TrainingData>::read(const Node& node, TrainingData& value, Problems& problems) {
  value.mark = node.mark;
  if (node.kind != Node::Kind::map) return Type<std::string>::read(node, value.name, problems);
  if (!Type<MixOptions>::read(node, value.mixture.emplace(), problems)) return false;
  const MixOptions& mixture = *value.mixture;
  const std::vector<DataReference> sources = value.sources();
  const DataReference& scored = mixture.validation.empty() ? sources[0] : mixture.validation;
  value.name = scored.name;
  value.mark = scored.mark;
  return true;
}

Node Type<TrainingData>::write(const TrainingData& value) {
  return value.mixture ? Type<MixOptions>::write(*value.mixture) : Node::text(value.name);
}

// The data set that is scored has the key of a data set that stands alone.
void Type<TrainingData>::references(const TrainingData& value, const std::string& path,
                                    std::vector<Referred>& found) {
  if (value.empty()) return;
  found.push_back({Refers::data, path, value});
  if (!value.mixture) return;
  for (const DataReference& source : value.sources())
    if (source.name != value.name)
      found.push_back({Refers::data, path + ".mix." + source.name, source});
}

}  // namespace compress::recipe
