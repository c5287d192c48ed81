/*
 * Real SCTP sockets, which Node has not. One-to-one style (RFC 6458 section 4), so libc alone suffices.
 *
 *   sctp server IDENTIFIER PORT ADDRESS...   prints "ready" when it listens on every address; says "target IDENTIFIER" to
 *                                            each association, then returns what comes
 *   sctp client < lines "SOURCE SOURCE_PORT DESTINATION DESTINATION_PORT"
 *                                            prints for each line "target IDENTIFIER", or "error: WHY"
 *
 * Every socket is bound to one address: an unbound one would tell its peer of all the addresses of its host, and the
 * association could go past the load balancer.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_ADDRESSES = 8, LINE = 128, ASSOCIATIONS_WAITING = 128 };

/* Seconds; as long as the demonstration's TCP clients wait. */
static const struct timeval PATIENCE = {.tv_sec = 5};

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static socklen_t parse(const char *text, int port, struct sockaddr_storage *address) {
  memset(address, 0, sizeof *address);
  struct sockaddr_in *four = (struct sockaddr_in *)address;
  struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;
  if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons((uint16_t)port);
    return sizeof *four;
  }
  if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons((uint16_t)port);
    return sizeof *six;
  }
  fprintf(stderr, "%s is no address\n", text);
  exit(1);
}

/* Read until `line` ends in a line feed. Returns 0, or -1 with errno; 0 bytes is ECONNRESET. */
static int read_line(int fd, char *line, size_t size) {
  size_t length = 0;
  while (length == 0 || line[length - 1] != '\n') {
    ssize_t count = read(fd, line + length, size - 1 - length);
    if (count <= 0) {
      if (count == 0) errno = ECONNRESET;
      return -1;
    }
    length += (size_t)count;
  }
  line[length] = '\0';
  return 0;
}

static void serve(int association, const char *identifier) {
  char data[LINE];
  int length = snprintf(data, sizeof data, "target %s\n", identifier);
  if (write(association, data, (size_t)length) == length) {
    ssize_t count;
    while ((count = read(association, data, sizeof data)) > 0) {
      if (write(association, data, (size_t)count) != count) break;
    }
  }
  _exit(0);
}

static void server(const char *identifier, int port, char **addresses, int count) {
  struct pollfd listeners[MAX_ADDRESSES];
  for (int i = 0; i < count; i++) {
    struct sockaddr_storage address;
    socklen_t size = parse(addresses[i], port, &address);
    int fd = socket(address.ss_family, SOCK_STREAM, IPPROTO_SCTP);
    if (fd < 0) fail("socket");
    if (bind(fd, (struct sockaddr *)&address, size) < 0) fail("bind");
    if (listen(fd, ASSOCIATIONS_WAITING) < 0) fail("listen");
    listeners[i] = (struct pollfd){.fd = fd, .events = POLLIN};
  }
  /* No zombies. */
  signal(SIGCHLD, SIG_IGN);
  puts("ready");
  fflush(stdout);
  for (;;) {
    if (poll(listeners, (nfds_t)count, -1) < 0) {
      if (errno == EINTR) continue;
      fail("poll");
    }
    for (int i = 0; i < count; i++) {
      if (!(listeners[i].revents & POLLIN)) continue;
      int association = accept(listeners[i].fd, NULL, NULL);
      if (association < 0) {
        if (errno == ECONNABORTED || errno == EINTR) continue;
        fail("accept");
      }
      pid_t pid = fork();
      if (pid < 0) fail("fork");
      if (pid == 0) serve(association, identifier);
      close(association);
    }
  }
}

/* Greeting of the peer in `line`, after a text went there and back. NULL, or the step that failed, with errno. */
static const char *associate(int fd, const char *to, int port, char *line, size_t size) {
  static const char TEXT[] = "there and back\n";
  struct sockaddr_storage address;
  socklen_t length = parse(to, port, &address);
  char echo[LINE];
  if (connect(fd, (struct sockaddr *)&address, length) < 0) return "connect";
  if (read_line(fd, line, size) < 0) return "greeting";
  if (write(fd, TEXT, sizeof TEXT - 1) != (ssize_t)sizeof TEXT - 1) return "send";
  if (read_line(fd, echo, sizeof echo) < 0) return "echo";
  if (strcmp(echo, TEXT) != 0) {
    errno = EBADMSG;
    return "echo";
  }
  return NULL;
}

static void client(void) {
  char request[4 * LINE], from[LINE], to[LINE], answer[LINE];
  int from_port, to_port;
  while (fgets(request, sizeof request, stdin) != NULL) {
    if (sscanf(request, "%127s %d %127s %d", from, &from_port, to, &to_port) != 4) {
      fprintf(stderr, "not understood: %s", request);
      exit(1);
    }
    struct sockaddr_storage address;
    socklen_t size = parse(from, from_port, &address);
    int fd = socket(address.ss_family, SOCK_STREAM, IPPROTO_SCTP);
    if (fd < 0) fail("socket");
    /* Linux takes the time-out of sending for connect too. */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &PATIENCE, sizeof PATIENCE) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &PATIENCE, sizeof PATIENCE) < 0)
      fail("setsockopt");
    if (bind(fd, (struct sockaddr *)&address, size) < 0) fail("bind");
    const char *failed = associate(fd, to, to_port, answer, sizeof answer);
    if (failed == NULL)
      fputs(answer, stdout);
    else
      printf("error: %s: %s\n", failed, strerror(errno));
    fflush(stdout);
    close(fd);
  }
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  if (argc == 2 && strcmp(argv[1], "client") == 0) {
    client();
  } else if (argc >= 5 && argc <= 4 + MAX_ADDRESSES && strcmp(argv[1], "server") == 0) {
    server(argv[2], atoi(argv[3]), argv + 4, argc - 4);
  } else {
    fputs("usage: sctp server IDENTIFIER PORT ADDRESS... | sctp client\n", stderr);
    return 2;
  }
  return 0;
}
