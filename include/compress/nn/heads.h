#pragma once
// The heads of models: their kinds, what each predicts, and those that a model has beside its own.

#include <cstdint>
#include <string>
#include <vector>

namespace compress::nn {

enum class HeadKind {
  none,
  classification,
  regression,
  masked_lm,
  embedding,
  causal_lm,
  seq2seq_lm,
  token_classification,
  span,
  multiple_choice,
  replaced_token,
  multi_label  // of each class by itself, whether it holds
};
const char* head_name(HeadKind kind);
HeadKind parse_head(const std::string& name);  // Error{recipe} for an unknown one

// What a head's outputs say.
struct Prediction {
  // What each prediction is about. choices: the rows of an example together; row_tokens: the tokens
  // of a row together.
  enum class Over { nothing, rows, choices, tokens, row_tokens };
  // categories: a distribution; value: a number; yes_no: a probability for each output by itself.
  enum class Kind { none, categories, value, yes_no };
  Over over = Over::nothing;
  Kind kind = Kind::none;
  bool vocabulary = false;   // the categories are tokens
  bool every_token = false;  // each token has a label, not a few of them
  bool named = false;        // the outputs have names (ModelConfig::labels)

  bool of_tokens() const { return over == Over::tokens; }
  // Outputs::token_logits holds them, not Outputs::logits.
  bool in_token_logits() const { return over == Over::tokens || over == Over::row_tokens; }
  bool predicts() const { return kind != Kind::none; }
};
const Prediction& prediction(HeadKind head);

// Whether the head says something of each token over a vocabulary (masked_lm, causal_lm,
// seq2seq_lm).
inline bool predicts_tokens(HeadKind head) {
  return prediction(head).vocabulary;
}
// Whether the head's outputs have names (ModelConfig::labels).
inline bool has_labels(HeadKind head) {
  return prediction(head).named;
}
// Whether they are names of classes, of which one is right or any number, and which are matched by
// name (data/classes.h).
inline bool has_classes(HeadKind head) {
  return has_labels(head) && prediction(head).kind != Prediction::Kind::value;
}
// The kind whose classes and tensors a head shares: classification for regression and multi_label,
// which problem_type tells apart, else itself.
HeadKind class_of(HeadKind head);

// A head beside the model's own, on the same body.
struct HeadSpec {
  std::string name;  // by which objectives, metrics and tensors ("heads.<name>.") know it
  HeadKind kind = HeadKind::none;
  std::vector<std::string> labels = {};  // as ModelConfig::labels
  // Layers of its own in place of the last ones of the stack that heads read; 0: it reads the same
  // states as the model's own head.
  int64_t layers = 0;
  std::string module = {};  // what the family's files call its output layer; "": heads.<name>....
};
inline constexpr const char* head_prefix = "heads.";
// What is asked for in place of a head's name where several answer together (answering_heads()).
inline constexpr const char* mean_of_heads = "mean";

}  // namespace compress::nn
