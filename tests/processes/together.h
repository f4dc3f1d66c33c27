#pragma once
// Threads that are processes to the engine: each has its own connection.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <thread>
#include <vector>

#include "compress/parallel/processes.h"

namespace compress::parallel {

// A port that nobody listens on at this moment.
inline int free_port() {
  int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(socket, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size), 0);
  ::close(socket);
  return ntohs(address.sin_port);
}

// The engine records what each process does in a table that threads cannot share: not here. Before
// the first connection.
inline void record_nothing() {
  ::setenv("TORCH_FR_BUFFER_SIZE", "0", /*overwrite=*/1);
}

// Runs work(processes) for every rank at once; what they throw, by rank (null: nothing).
template <class Work>
std::vector<std::exception_ptr> together(int world, const Work& work) {
  record_nothing();
  const int port = free_port();
  std::vector<std::exception_ptr> thrown(static_cast<size_t>(world));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < world; ++rank)
    threads.emplace_back([&, rank] {
      try {
        Processes processes({rank, world, rank, world, "127.0.0.1", port, "a test"},
                            std::chrono::seconds(60));
        work(processes);
      } catch (...) {
        thrown[static_cast<size_t>(rank)] = std::current_exception();
      }
    });
  for (std::thread& thread : threads) thread.join();
  return thrown;
}

// The same where nothing may be thrown.
template <class Work>
void all_together(int world, const Work& work) {
  for (const std::exception_ptr& thrown : together(world, work))
    if (thrown) std::rethrow_exception(thrown);
}

}  // namespace compress::parallel
