// The library's side of the comparison with peers (peers.py): see peer_server.hpp.
#include "cases.hpp"
#include "peer_server.hpp"

int main() {
  return bench::PeerServer(bench::make_case, true).serve();
}
