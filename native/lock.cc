/*
 * Locks on open files (fcntl(2), F_OFD_SETLK): Node has none. Contract:
 * - it knows descriptors; what a lock protects is decided elsewhere;
 * - nothing here blocks, and nothing is kept: the lock belongs to the open file and ends with its last descriptor;
 * - it throws nothing: a call returns -errno, host/lock/native.ts makes words of it.
 * flock(2) is not enough: it cannot tell whether a lock is held without taking it, and a question would disturb a process that takes it.
 */
#include <errno.h>
#include <fcntl.h>
#include <napi.h>

namespace {

struct flock WholeFile() {
  struct flock range = {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  return range;
}

/* 1: taken; 0: another open file has it. */
int Lock(int fd) {
  struct flock range = WholeFile();
  if (fcntl(fd, F_OFD_SETLK, &range) == 0) return 1;
  return errno == EAGAIN || errno == EACCES ? 0 : -errno;
}

/* 1: another open file has the lock; 0: none has. The descriptor may be one for reading. */
int Held(int fd) {
  struct flock range = WholeFile();
  if (fcntl(fd, F_OFD_GETLK, &range) < 0) return -errno;
  return range.l_type == F_UNLCK ? 0 : 1;
}

/* ---- the boundary ---- */

template <int (*Call)(int)>
Napi::Value OnDescriptor(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), Call(info[0].As<Napi::Number>().Int32Value()));
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("lock", Napi::Function::New(env, OnDescriptor<Lock>, "lock"));
  exports.Set("held", Napi::Function::New(env, OnDescriptor<Held>, "held"));
  return exports;
}

}  // namespace

NODE_API_MODULE(lock, Init)
