#pragma once
// Porter's suffix stripping with NLTK's extensions, which ROUGE counts stems by.

#include <string>

namespace compress {

// The stem of a word of a-z and 0-9 in lower case, as nltk.stem.PorterStemmer().stem gives it.
std::string porter_stem(const std::string& word);

}  // namespace compress
