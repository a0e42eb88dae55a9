#include <maa/core/error.hpp>

int main() { return 0; }
