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

// The options of bottlenecks behind sub-layers, and the name.
template <class O>
recipe::Options<O> with_bottleneck(recipe::Options<O> options) {
  return std::move(options)
      .field("after", in<O>(&O::after),
             "sub-layers that get one: attention, feed_forward, "
             "cross_attention")
      .one_of({"attention", "feed_forward", "cross_attention"})
      .field("activation", in<O>(&O::activation), "inside of the bottleneck")
      .one_of({"gelu", "gelu_new", "relu", "silu"})
      .field("name", &O::name, "of the attachment in the model");
}

// `Options` are those of a kind of attachment and a name.
template <class Options>
void attach_edit(const recipe::Component& component, nn::ModelState& state, Workshop&) {
  const Options& options = component.as<Options>();
  with_place(component.mark.text(), [&] { nn::attach(state, nn::spec_of(options.name, options)); });
  state.history.push_back(str(Options::kind, ": attached as ", options.name));
}

}  // namespace compress::surgery
