/*
 * The sockets that health checks ask by. Node cannot set a socket's mark, nor open a raw one. Contract:
 * - it knows sockets, marks, addresses and bytes; what is asked and what an answer means is decided elsewhere;
 * - nothing here blocks, and nothing is kept: descriptors belong to the caller;
 * - it throws nothing: a call returns -errno, host/health/native.ts makes words of it and checks arguments beforehand.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <napi.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

/* Where opening failed: it returns -(step * 4096 + errno); Linux's errno stays below 4096 (MAX_ERRNO). */
enum Step { kSocket, kMark, kConfigure };
constexpr int kStepSize = 4096;

int Failed(Step step, int error) { return -(static_cast<int>(step) * kStepSize + error); }

int Domain(uint32_t family) { return family == 6 ? AF_INET6 : AF_INET; }

template <typename Value>
bool Set(int socket, int level, int option, const Value& value) {
  return setsockopt(socket, level, option, &value, sizeof value) == 0;
}

/* The socket, or what Failed makes where the step was not done; it is closed then. */
int OrClosed(int socket, Step step, bool done) {
  if (done) return socket;
  const int error = errno;
  close(socket);
  return Failed(step, error);
}

/* A stream socket that sends by the mark from its first packet on. Its close is a reset: no connection stays behind in
 * TIME_WAIT, of which checks of one address and port by many marks would soon use up all ports. */
int OpenStream(uint32_t family, uint32_t mark) {
  const int opened = socket(Domain(family), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (opened < 0) return Failed(kSocket, errno);
  const int marked = OrClosed(opened, kMark, Set(opened, SOL_SOCKET, SO_MARK, mark));
  if (marked < 0) return marked;
  return OrClosed(opened, kConfigure, Set(opened, SOL_SOCKET, SO_LINGER, linger{1, 0}));
}

/* Echo replies alone; the filter drops what bears another identifier, so that others' replies do not fill the buffer. */
bool AdmitReplies(int socket, uint32_t family, uint16_t identifier) {
  icmp_filter ipv4 = {~(1u << ICMP_ECHOREPLY)};
  icmp6_filter ipv6;
  for (uint32_t& word : ipv6.data) word = ~0u;
  ipv6.data[ICMPV6_ECHO_REPLY >> 5] &= ~(1u << (ICMPV6_ECHO_REPLY & 31));
  /* IPv4 packets come with their header, IPv6 ones without. */
  sock_filter header = BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0);
  if (family == 6) header = BPF_STMT(BPF_LDX | BPF_W | BPF_IMM, 0);
  sock_filter steps[] = {
      header,
      BPF_STMT(BPF_LD | BPF_H | BPF_IND, 4),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, identifier, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0xffff),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  const bool filtered =
      family == 6 ? Set(socket, IPPROTO_ICMPV6, ICMPV6_FILTER, ipv6) : Set(socket, SOL_RAW, ICMP_FILTER, ipv4);
  return filtered && Set(socket, SOL_SOCKET, SO_ATTACH_FILTER, sock_fprog{sizeof steps / sizeof steps[0], steps});
}

/* A socket for ICMP echo: a ping socket, which needs no capability where net.ipv4.ping_group_range allows it, else a raw
 * one. `raw` tells which. The identifier is that of a raw one; the kernel gives a ping socket its own. */
int OpenEcho(uint32_t family, uint16_t identifier, int bufferBytes, bool& raw) {
  const int protocol = family == 6 ? static_cast<int>(IPPROTO_ICMPV6) : static_cast<int>(IPPROTO_ICMP);
  const int flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
  raw = false;
  int opened = socket(Domain(family), SOCK_DGRAM | flags, protocol);
  if (opened < 0) {
    raw = true;
    opened = socket(Domain(family), SOCK_RAW | flags, protocol);
    if (opened < 0) return Failed(kSocket, errno);
    const int admitting = OrClosed(opened, kConfigure, AdmitReplies(opened, family, identifier));
    if (admitting < 0) return admitting;
  }
  const bool sized = (Set(opened, SOL_SOCKET, SO_RCVBUFFORCE, bufferBytes) ||
                      Set(opened, SOL_SOCKET, SO_RCVBUF, bufferBytes)) &&
                     (Set(opened, SOL_SOCKET, SO_SNDBUFFORCE, bufferBytes) ||
                      Set(opened, SOL_SOCKET, SO_SNDBUF, bufferBytes));
  return OrClosed(opened, kConfigure, sized);
}

/* Sends one datagram to an address of 4 or 16 bytes by a mark; 0 or what Failed makes. */
int Send(int socket, uint32_t mark, const uint8_t* address, size_t addressBytes, const uint8_t* bytes, size_t length) {
  if (!Set(socket, SOL_SOCKET, SO_MARK, mark)) return Failed(kMark, errno);
  sockaddr_in ipv4 = {};
  sockaddr_in6 ipv6 = {};
  const sockaddr* to = reinterpret_cast<sockaddr*>(&ipv4);
  socklen_t toBytes = sizeof ipv4;
  if (addressBytes == sizeof ipv6.sin6_addr) {
    ipv6.sin6_family = AF_INET6;
    memcpy(&ipv6.sin6_addr, address, sizeof ipv6.sin6_addr);
    to = reinterpret_cast<sockaddr*>(&ipv6);
    toBytes = sizeof ipv6;
  } else {
    ipv4.sin_family = AF_INET;
    memcpy(&ipv4.sin_addr, address, sizeof ipv4.sin_addr);
  }
  return sendto(socket, bytes, length, MSG_DONTWAIT, to, toBytes) < 0 ? Failed(kSocket, errno) : 0;
}

/* Length of one datagram, cut to the room that there is, or -errno (EAGAIN: none waits). `from` takes 16 bytes, of which
 * an IPv4 address fills 4. */
int Receive(int socket, uint8_t* bytes, size_t room, uint8_t* from) {
  sockaddr_storage sender = {};
  socklen_t senderBytes = sizeof sender;
  const ssize_t received =
      recvfrom(socket, bytes, room, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&sender), &senderBytes);
  if (received < 0) return -errno;
  if (sender.ss_family == AF_INET6) {
    memcpy(from, &reinterpret_cast<sockaddr_in6*>(&sender)->sin6_addr, sizeof(in6_addr));
  } else {
    memcpy(from, &reinterpret_cast<sockaddr_in*>(&sender)->sin_addr, sizeof(in_addr));
  }
  return static_cast<int>(received);
}

/* ---- the boundary ---- */

Napi::Value Number(const Napi::CallbackInfo& info, double value) { return Napi::Number::New(info.Env(), value); }

uint32_t Word(const Napi::CallbackInfo& info, size_t n) { return info[n].As<Napi::Number>().Uint32Value(); }

int Descriptor(const Napi::CallbackInfo& info) { return info[0].As<Napi::Number>().Int32Value(); }

Napi::Value CallOpenStream(const Napi::CallbackInfo& info) {
  return Number(info, OpenStream(Word(info, 0), Word(info, 1)));
}

Napi::Value CallOpenEcho(const Napi::CallbackInfo& info) {
  bool raw;
  const int opened =
      OpenEcho(Word(info, 0), static_cast<uint16_t>(Word(info, 1)), static_cast<int>(Word(info, 2)), raw);
  if (opened < 0) return Number(info, opened);
  Napi::Object echo = Napi::Object::New(info.Env());
  echo.Set("descriptor", opened);
  echo.Set("raw", raw);
  return echo;
}

Napi::Value CallSend(const Napi::CallbackInfo& info) {
  const Napi::Uint8Array address = info[2].As<Napi::Uint8Array>();
  const Napi::Uint8Array bytes = info[3].As<Napi::Uint8Array>();
  return Number(info, Send(Descriptor(info), Word(info, 1), address.Data(), address.ByteLength(), bytes.Data(),
                           bytes.ByteLength()));
}

Napi::Value CallReceive(const Napi::CallbackInfo& info) {
  Napi::Uint8Array bytes = info[1].As<Napi::Uint8Array>();
  Napi::Uint8Array from = info[2].As<Napi::Uint8Array>();
  return Number(info, Receive(Descriptor(info), bytes.Data(), bytes.ByteLength(), from.Data()));
}

Napi::Value CallClose(const Napi::CallbackInfo& info) {
  return Number(info, close(Descriptor(info)) < 0 ? -errno : 0);
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("openStream", Napi::Function::New(env, CallOpenStream, "openStream"));
  exports.Set("openEcho", Napi::Function::New(env, CallOpenEcho, "openEcho"));
  exports.Set("send", Napi::Function::New(env, CallSend, "send"));
  exports.Set("receive", Napi::Function::New(env, CallReceive, "receive"));
  exports.Set("close", Napi::Function::New(env, CallClose, "close"));
  return exports;
}

}  // namespace

NODE_API_MODULE(probe, Init)
