#include "compress/pipeline/run.h"
#include "compress_version.h"

namespace compress::pipeline {

std::string program_version() {
  return "compress " COMPRESS_VERSION " (" COMPRESS_COMMIT ")";
}

}  // namespace compress::pipeline
