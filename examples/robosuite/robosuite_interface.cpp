#include "robosuite_interface.hpp"

namespace maa::examples {

const Interface& robosuite_interface() {
  static const Interface interface {
    policy_type<RobosuitePolicy>(), {}, {}
  };
  return interface;
}

}  // namespace maa::examples
