#include "unit/limit_cpu.h"
