#pragma once
// What edits that attach something share.

#include "compress/base/place.h"
#include "compress/base/strings.h"
#include "compress/nn/attachment.h"
#include "compress/surgery/surgery.h"

namespace compress::surgery {

// A base's member as one of the class O, for the description of O's options.
template <class O, class Base, class V>
constexpr V O::*in(V Base::*member) {
  return member;
}

// `Options` are those of a kind of attachment and a name.
template <class Options>
void attach_edit(const recipe::Component& component, nn::ModelState& state, Workshop&) {
  const Options& options = component.as<Options>();
  with_place(component.mark.text(), [&] { nn::attach(state, nn::spec_of(options.name, options)); });
  state.history.push_back(str(Options::kind, ": attached as ", options.name));
}

}  // namespace compress::surgery
