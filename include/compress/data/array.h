#pragma once
// A read-mostly array that owns its elements or shows those of a memory-mapped file.

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace compress::data {

// Elements are read the same way wherever they lie. Copying an array that owns copies the elements;
// copying a view shares what it shows, which lives as long as its last view. Changing a view first
// copies its elements into memory of its own: a mapped file is never written through here.
template <class T>
class Array {
 public:
  using value_type = T;
  using const_reference = const T&;
  using reference = const_reference;
  using const_iterator = const T*;
  using iterator = const_iterator;
  using size_type = size_t;
  using difference_type = std::ptrdiff_t;

  Array() = default;
  Array(std::initializer_list<T> items) : own_(items) {}
  Array(std::vector<T> items) : own_(std::move(items)) {}
  // Shows `items`, which `owner` keeps alive.
  Array(std::span<const T> items, std::shared_ptr<const void> owner)
      : shown_(items), owner_(std::move(owner)) {}

  bool is_view() const { return owner_ != nullptr; }
  const T* data() const { return owner_ ? shown_.data() : own_.data(); }
  size_t size() const { return owner_ ? shown_.size() : own_.size(); }
  bool empty() const { return size() == 0; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size(); }
  const T& operator[](size_t i) const { return data()[i]; }
  const T& front() const { return data()[0]; }
  const T& back() const { return data()[size() - 1]; }
  operator std::span<const T>() const { return {data(), size()}; }
  friend bool operator==(const Array& a, const Array& b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin());
  }

  // The elements for changing.
  std::vector<T>& edit() {
    if (owner_) {
      own_.assign(shown_.begin(), shown_.end());
      release();
    }
    return own_;
  }
  void push_back(T item) { edit().push_back(item); }
  void append(std::span<const T> items) { edit().insert(own_.end(), items.begin(), items.end()); }
  void clear() {
    release();
    own_.clear();
  }

 private:
  void release() {
    shown_ = {};
    owner_.reset();
  }

  std::vector<T> own_;
  std::span<const T> shown_;
  std::shared_ptr<const void> owner_;  // null = the elements are own_
};

}  // namespace compress::data
