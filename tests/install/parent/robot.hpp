#pragma once

// The sum of a policy's actions, of a file or untrained.
double act(const char* file);
