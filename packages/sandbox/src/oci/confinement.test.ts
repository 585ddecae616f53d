import { execFile } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { python, sh, TestEngine } from './engine.test.fixture.js'

const exec = promisify(execFile)
let host: TestEngine
beforeAll(async () => {
  host = await TestEngine.open()
}, 900_000)
afterAll(() => host?.close())

/** Numbers of x86-64; each call is made in a child and must fail with this errno. */
const calls = `
import ctypes, errno, os, struct
libc = ctypes.CDLL(None, use_errno=True)
NEWUSER, NEWNS, NEWNET, NEWTIME, SIGCHLD = 0x10000000, 0x20000, 0x40000000, 0x80, 17
clone_args = ctypes.create_string_buffer(struct.pack('8Q', NEWUSER, 0, 0, 0, SIGCHLD, 0, 0, 0))
calls = {
    'unshare user': ('EPERM', 272, NEWUSER), 'unshare mount': ('EPERM', 272, NEWNS), 'unshare net': ('EPERM', 272, NEWNET),
    'unshare time': ('EPERM', 272, NEWTIME), 'clone user': ('ENOSYS', 56, NEWUSER | SIGCHLD, 0, 0, 0, 0),
    'clone net': ('ENOSYS', 56, NEWNET | SIGCHLD, 0, 0, 0, 0), 'clone3 user': ('ENOSYS', 435, clone_args, 64),
    'setns': ('EPERM', 308, 0, 0), 'mount': ('EPERM', 165, b'x', b'/mnt', b'tmpfs', 0, 0), 'umount': ('EPERM', 166, b'/proc', 2),
    'pivot_root': ('EPERM', 155, b'/', b'/'), 'open_tree': ('EPERM', 428, -100, b'/', 1), 'fsopen': ('EPERM', 430, b'tmpfs', 0),
    'bpf': ('EPERM', 321, 0, 0, 0), 'userfaultfd': ('EPERM', 323, 0), 'userfaultfd of user mode': ('EPERM', 323, 1),
    'perf_event_open': ('EPERM', 298, 0, 0, -1, -1, 0), 'io_uring_setup': ('ENOSYS', 425, 1, clone_args),
    'keyctl': ('EPERM', 250, 0, -3, 1, 0, 0), 'add_key': ('EPERM', 248, b'user', b'a', b'b', 1, -3),
    'request_key': ('EPERM', 249, b'user', b'a', 0, -3), 'open_by_handle_at': ('EPERM', 304, -1, 0, 0),
    'init_module': ('EPERM', 175, 0, 0, 0), 'finit_module': ('EPERM', 313, -1, b'', 0), 'kexec_load': ('EPERM', 246, 0, 0, 0, 0),
    'reboot': ('EPERM', 169, 0xfee1dead, 672274793, 0, 0), 'swapon': ('EPERM', 167, b'/a', 0), 'acct': ('EPERM', 163, b'/a'),
    'quotactl': ('EPERM', 179, 0, 0, 0, 0), 'settimeofday': ('EPERM', 164, clone_args, 0), 'iopl': ('EPERM', 172, 3),
    'syslog': ('EPERM', 103, 3, clone_args, 64), 'sethostname': ('EPERM', 170, b'x', 1), 'fanotify_init': ('EPERM', 300, 0, 0),
    'mknod of a disk': ('EPERM', 133, b'/tmp/disk', 0o60600, 0x800), 'mknod of a whiteout': ('EPERM', 133, b'/tmp/gone', 0o20600, 0),
}
for name, (expected, number, *args) in calls.items():
    ctypes.set_errno(0)
    child = os.fork()
    if child == 0:
        result = libc.syscall(number, *args)
        os._exit(0 if result >= 0 else ctypes.get_errno())
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found = errno.errorcode.get(status, status)
    if found != expected: print(name, found)
`

test.runIf(process.arch === 'x64')('no system call leads to other namespaces, mounts, keyrings or the kernel', () =>
  host.withSandbox(async (sandbox) => {
    expect(await python(sandbox, calls)).toEqual({ status: 0, out: '' })
  }),
)

test('sockets are of UNIX, IP and netlink only: no packets, no raw IP, no way to the hypervisor', () =>
  host.withSandbox(async (sandbox) => {
    const script = `
import errno, socket
for name, arguments in {'raw icmp': (2, 3, 1), 'raw tcp': (2, 3, 6), 'raw ipv6': (10, 3, 58), 'packet': (17, 3, 0x300),
                        'packet datagram': (17, 2, 0x300), 'vsock': (40, 1, 0), 'crypto': (38, 5, 0), 'xdp': (44, 3, 0),
                        'bluetooth': (31, 3, 1), 'tcp': (2, 1, 0), 'unix': (1, 1, 0), 'tcp over ipv6': (10, 1, 0)}.items():
    try:
        socket.socket(*arguments).close()
        print(name)
    except OSError: pass
`
    expect((await python(sandbox, script)).out.trim().split('\n')).toEqual(['tcp', 'unix', 'tcp over ipv6'])
  }))

test('settings of the kernel and of its control groups cannot be written', () =>
  host.withSandbox(async (sandbox) => {
    const script = `
for file in /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sys/net/ipv4/ip_forward /proc/sys/vm/overcommit_memory \
  /proc/sysrq-trigger /proc/irq/default_smp_affinity /sys/kernel/uevent_helper /sys/fs/cgroup/new /sys/fs/cgroup/cgroup.procs \
  /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max /proc/1/mem; do
  if (echo 1 >$file) 2>/dev/null; then echo "$file"; fi
done
for folder in /sys/fs/cgroup /sys/fs/cgroup/*/; do mkdir "$folder/new" 2>/dev/null && echo "$folder"; done
(echo -1000 >/proc/self/oom_score_adj) 2>/dev/null && echo oom_score_adj
true`
    expect(await sh(sandbox, script)).toEqual({ status: 0, out: '' })
  }))

test('what /proc and /sys tell of the host is no more than needed', () =>
  host.withSandbox(async (sandbox) => {
    const hidden =
      '/proc/cmdline /proc/config.gz /proc/diskstats /proc/interrupts /proc/kallsyms /proc/keys /proc/partitions'
    expect(
      (
        await sh(
          sandbox,
          `cat ${hidden} 2>/dev/null; ls /sys/block /sys/class/block /sys/devices/virtual/block /sys/firmware | grep -v :; find /sys -name backing_file; true`,
        )
      ).out.trim(),
    ).toBe('')
    // Nothing of the host hangs on the first process: its streams, its environment, its arguments.
    expect(
      (
        await sh(
          sandbox,
          'readlink /proc/1/fd/[012]; tr "\\0" " " </proc/1/cmdline; echo; tr "\\0" "\\n" </proc/1/environ | grep -v -e ^NODE_EXTRA_CA_CERTS= -e ^SSL_CERT_FILE= -e ^HOME= -e _proxy= -e _PROXY= -e ^npm_config_registry=',
        )
      ).out
        .split('\n')
        .filter(Boolean),
    ).toEqual(['/dev/null', '/dev/null', '/dev/null', '/.vm0-init -P '])
    // Mounts: the sandbox's own run folder and the files of the platform that are bound in; no data folder, no cache.
    const mounts = (await sh(sandbox, 'cat /proc/self/mountinfo')).out
      .trim()
      .split('\n')
      .map((line) => line.split(' '))
    const own = `/run/vm0/${host.installation}/${sandbox.id}/`
    const roots = mounts
      .map(([, , , root = '', target = '']) => [root, target] as const)
      .filter(([root, target]) => root !== '/' && !target.startsWith('/dev/') && !target.startsWith('/proc/'))
    for (const [root] of roots)
      expect([
        root,
        root.startsWith(own) || ['/etc/ssl/certs/ca-certificates.crt', '/usr/bin/catatonit'].includes(root),
      ]).toEqual([root, true])
    expect(JSON.stringify(mounts)).not.toContain(host.directory)
  }))

test('setuid and file capabilities give nobody more than they have', () =>
  host.withSandbox(async (sandbox) => {
    const script = `
cp /bin/bash /workspace/root-shell; chmod 6755 /workspace/root-shell
cp /usr/bin/python3 /workspace/capable
python3 -c "import os, struct; os.setxattr('/workspace/capable', 'security.capability', struct.pack('<IIIII', 0x02000000, 0xffffffff, 0, 0xffffffff, 0))"
su_as() { python3 -c "import os, sys; os.setgroups([]); os.setgid(1000); os.setuid(1000); os.execv(sys.argv[1], sys.argv[1:])" "$@"; }
su_as /workspace/root-shell -p -c 'id -u'
su_as /workspace/capable -c "print([line for line in open('/proc/self/status') if line.startswith('CapPrm')][0].split()[1])"`
    expect((await sh(sandbox, script)).out.split('\n')).toEqual(['1000', '0000000000000000', ''])
  }))

test("the host's loopback, its IPv6 addresses and the clouds' metadata are out of reach, by TCP and UDP", async () => {
  const seen: string[] = []
  const server = createServer((request, response) => {
    seen.push(String(request.socket.localAddress))
    response.end('the host')
  })
  await new Promise<void>((resolve) => server.listen(0, '::', resolve))
  const { port } = server.address() as AddressInfo
  const datagrams = createSocket('udp6', (message) => seen.push(String(message)))
  await new Promise<void>((resolve) => datagrams.bind(port, '::', resolve))
  try {
    await host.withSandbox(async (sandbox) => {
      // The kernel gives a link its IPv6 address a moment after both ends are up.
      const { links, own } = await vi.waitFor(async () => {
        const { stdout } = await exec('ip', ['-6', '-j', 'addr', 'show', 'up'])
        const links = (
          JSON.parse(stdout) as { ifname: string; addr_info: { local: string; scope: string }[] }[]
        ).filter(({ ifname }) => ifname !== 'lo')
        const own = links.filter(({ ifname }) => ifname.startsWith(`v${host.installation}`))
        expect(own.length).toBe(1)
        return { links, own }
      }, 10_000)
      const addresses = [
        '127.0.0.1',
        '[::1]',
        '[::ffff:127.0.0.1]',
        '169.254.169.254',
        '[fd00:ec2::254]',
        '100.100.100.200',
        ...own.flatMap(({ addr_info: list }) => list.map(({ local }) => `[${local}%25eth0]`)),
        ...links.flatMap(({ addr_info: list }) =>
          list.filter(({ scope }) => scope === 'global').map(({ local }) => `[${local}]`),
        ),
      ]
      const script = addresses
        .map((address) => `curl -sg -m 1 -o /dev/null 'http://${address}:${port}/' && echo '${address}'`)
        .join('\n')
      const send = `
import socket
for address in ${JSON.stringify(addresses.map((each) => each.replace(/[[\]]/g, '').replace('%25', '%')))}:
    try:
        family, kind, _, _, target = socket.getaddrinfo(address, ${port}, type=socket.SOCK_DGRAM)[0]
        socket.socket(family, kind).sendto(b'a datagram', target)
    except OSError: pass
`
      expect((await python(sandbox, send)).status).toBe(0)
      expect((await sh(sandbox, `${script}\ntrue`)).out).toBe('')
      expect(seen).toEqual([])
    })
  } finally {
    server.close()
    datagrams.close()
  }
})

test("the platform's environment is in no process that can be seen inside, not even while it comes in", async () => {
  const canary = `vm0-canary-${process.pid}-${Date.now()}`
  const names = ['ANTHROPIC_API_KEY', 'VM0_TEST_CANARY', 'DATABASE_URL']
  const before = names.map((name) => process.env[name])
  for (const name of names) process.env[name] = canary
  try {
    await host.withSandbox(async (sandbox) => {
      const watcher = `
import glob, sys
print('on', flush=True)
found = 0
while not found and not glob.glob('/tmp/enough'):
    for path in glob.glob('/proc/[0-9]*/environ'):
        try: found += b'${canary}' in open(path, 'rb').read()
        except OSError: pass
print('seen' if found else 'nothing')`
      const watching = sandbox.exec({ args: ['python3', '-c', watcher], cwd: '/' })[Symbol.asyncIterator]()
      await watching.next()
      const agent = await sandbox.spawn({ id: 'agent', args: ['env'], env: {}, cwd: '/', maxOutputBytes: 65_536 })
      for (let command = 0; command < 50; command++) expect((await sh(sandbox, 'env')).out).not.toContain(canary)
      for await (const { text } of agent.output()) expect(text).not.toContain(canary)
      await sh(sandbox, 'touch /tmp/enough')
      const { value } = await watching.next()
      expect(String(Buffer.from((value as { data: Uint8Array }).data))).toBe('nothing\n')
      await watching.return?.(undefined)
    })
  } finally {
    names.forEach((name, index) => {
      if (before[index] === undefined) delete process.env[name]
      else process.env[name] = before[index]
    })
  }
})

test("a process can neither cut nor rewrite the record of what it said, nor feed itself the platform's input", () =>
  host.withSandbox(async (sandbox) => {
    const script = `
import fcntl, os
print('first', flush=True)
tries = {
    'truncate': lambda: os.ftruncate(1, 0), 'seek': lambda: os.lseek(1, 0, 0), 'read back': lambda: os.read(1, 1),
    'reopen stdout': lambda: os.open('/proc/self/fd/1', os.O_WRONLY), 'reopen stdin': lambda: os.open('/proc/self/fd/0', os.O_RDWR),
    'follow stdin': lambda: os.open(os.readlink('/proc/self/fd/0'), os.O_RDWR),
    'see the run folder': lambda: os.listdir('/run/vm0'),
}
for name, attempt in tries.items():
    try:
        attempt()
        print(name, flush=True)
    except OSError: pass
print('last', flush=True)`
    const started = await sandbox.spawn({
      id: 'forger',
      args: ['python3', '-c', script],
      env: {},
      cwd: '/',
      maxOutputBytes: 65_536,
    })
    const lines: string[] = []
    for await (const { text } of started.output()) lines.push(text)
    expect(lines).toEqual(['first', 'last'])
  }))
