#include "robot.hpp"

int main(int argc, char** argv) {
  return act(argc > 1 ? argv[1] : nullptr) != 0 ? 0 : 1;
}
