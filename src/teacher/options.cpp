// What a recipe says of a teacher.

#include "compress/teacher/options.h"

#include "components.h"

namespace compress::teacher {

View view_of(const std::string& word) {
  return word == "unmasked" ? View::unmasked : View::student;
}

View TeacherOptions::reads() const {
  return own_tokens() ? View::own : view_of(view.value_or("student"));
}

const recipe::Options<CacheOptions>& CacheOptions::options() {
  static const auto description =
      recipe::Options<CacheOptions>("cache")
          .field("folder", &CacheOptions::folder, "shared by any stages, runs and jobs")
          .required()
          .field("hidden", &CacheOptions::hidden,
                 "layers whose hidden states are kept where objectives read some: auto, those that "
                 "they read; all, for stages with other maps")
          .one_of({"auto", "all"})
          .field("top_k", &CacheOptions::top_k,
                 "of logits over a vocabulary: this many most probable tokens a position and the "
                 "probability of all others together")
          .range(1, 65536)
          .field("missing", &CacheOptions::missing,
                 "where the folder lacks an answer: compute and keep it, or refuse to run")
          .one_of({"compute", "refuse"})
          .mark(&CacheOptions::mark)
          .shorthand("folder");
  return description;
}

const recipe::Options<TeacherOptions>& TeacherOptions::options() {
  static const auto description =
      recipe::Options<TeacherOptions>("teacher")
          .field("from", &TeacherOptions::from, "an earlier stage, or a folder")
          .required()
          .field("floor", &TeacherOptions::floor,
                 "refuse a teacher whose validation score is below")
          .field("metric", &TeacherOptions::metric,
                 "metric of the floor; default: the one that selects checkpoints")
          .field("remember", &TeacherOptions::remember,
                 "compute its logits once a row before training, where objectives need nothing "
                 "else and rows never change")
          .field("cache", &TeacherOptions::cache,
                 "folder that keeps what objectives read of it between runs and jobs; default: "
                 "none")
          .field("tokenizer", &TeacherOptions::tokenizer,
                 "own: it reads the same rows as tokens of its own tokenizer; default: same, that "
                 "of the student")
          .one_of({"same", "own"})
          .field("view", &TeacherOptions::view, view_doc)
          .one_of({"student", "unmasked"})
          .field("dropout", &TeacherOptions::dropout,
                 "dropout stays on in it, as in reference code that forgets to turn it off; such "
                 "answers are never kept; default: off")
          .mark(&TeacherOptions::mark)
          .check([](const TeacherOptions& o, const recipe::Mark& mark, recipe::Problems& problems) {
            if (o.cache && !o.remember)
              problems.add(mark, "a cache needs remembered answers", "remove `remember: false`");
            if (o.cache && o.drops())
              problems.add(mark,
                           "what a teacher with dropout says changes in every update, so it "
                           "cannot be cached",
                           "remove `cache`, or `dropout: true`");
            if (o.own_tokens() && o.view)
              problems.add(mark, "a teacher with its own tokenizer reads rows without augments",
                           "remove `view`");
          })
          .shorthand("from");
  return description;
}

}  // namespace compress::teacher
