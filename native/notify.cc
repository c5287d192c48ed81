/*
 * One datagram to a unix socket: Node has stream sockets of that kind alone. Contract:
 * - it knows socket names and bytes; what is told to whom is decided elsewhere;
 * - nothing here blocks, and nothing is kept;
 * - it throws nothing: a call returns -errno, host/notify/native.ts makes words of it and hands bytes over.
 */
#include <errno.h>
#include <napi.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace {

/* The name is a path, or begins with a 0: an abstract one (unix(7)). */
int Send(const uint8_t* name, size_t nameBytes, const uint8_t* bytes, size_t length) {
  sockaddr_un to = {};
  if (nameBytes > sizeof to.sun_path) return -ENAMETOOLONG;
  to.sun_family = AF_UNIX;
  memcpy(to.sun_path, name, nameBytes);
  const int sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (sender < 0) return -errno;
  const socklen_t toBytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + nameBytes);
  const ssize_t sent = sendto(sender, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&to), toBytes);
  const int error = sent < 0 ? errno : 0;
  close(sender);
  return -error;
}

/* ---- the boundary ---- */

Napi::Value CallSend(const Napi::CallbackInfo& info) {
  const Napi::Uint8Array name = info[0].As<Napi::Uint8Array>();
  const Napi::Uint8Array bytes = info[1].As<Napi::Uint8Array>();
  return Napi::Number::New(info.Env(), Send(name.Data(), name.ByteLength(), bytes.Data(), bytes.ByteLength()));
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("send", Napi::Function::New(env, CallSend, "send"));
  return exports;
}

}  // namespace

NODE_API_MODULE(notify, Init)
