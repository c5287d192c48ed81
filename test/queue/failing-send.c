/* Preloaded by test/queue/send-errors.test.ts: sends of verdicts fail as often as the first word of the file FAILING_SEND
 * says, with the error that its second word is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

static _Atomic uint32_t* words;

__attribute__((constructor)) static void Map(void) {
  const char* file = getenv("FAILING_SEND");
  const int descriptor = file == NULL ? -1 : open(file, O_RDWR | O_CLOEXEC);
  if (descriptor < 0) return;
  void* mapped = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (mapped != MAP_FAILED) words = mapped;
}

ssize_t send(int socket, const void* bytes, size_t length, int flags) {
  ssize_t (*real)(int, const void*, size_t, int) = (ssize_t(*)(int, const void*, size_t, int))dlsym(RTLD_NEXT, "send");
  const struct nlmsghdr* header = bytes;
  const int is_verdict = length >= sizeof *header && header->nlmsg_len <= length &&
                         header->nlmsg_type == (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_VERDICT);
  if (words != NULL && is_verdict && words[0] > 0) {
    words[0]--;
    errno = (int)words[1];
    return -1;
  }
  return real(socket, bytes, length, flags);
}
