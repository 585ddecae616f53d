import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { extraCertificates, trustedCertificates } from './certificates.js'
import { gatewayPort, sh, TestEngine } from './engine.test.fixture.js'

const exec = promisify(execFile)
const canary = `vm0-canary-${process.pid}-${Date.now()}`
let host: TestEngine
let withSandbox: TestEngine['withSandbox']

beforeAll(async () => {
  host = await TestEngine.open()
  withSandbox = host.withSandbox.bind(host)
}, 900_000)
afterAll(() => host?.close())

test('nothing of the host is in a sandbox: neither files, environment, processes nor devices', async () => {
  const planted = [join(tmpdir(), canary), `/root/${canary}`, `/etc/${canary}`, `/var/lib/${canary}`, `/opt/${canary}`]
  process.env.VM0_TEST_CANARY = canary
  try {
    await Promise.all(planted.map((path) => writeFile(path, canary)))
    await withSandbox(async (sandbox) => {
      expect(
        (
          await sh(
            sandbox,
            `find / -xdev -name '${canary}' 2>/dev/null; grep -rl '${canary.slice(0, 12)}''${canary.slice(12)}' /etc /root /tmp /var /opt /run 2>/dev/null; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n' | grep '^VM0_TEST'; true`,
          )
        ).out,
      ).toBe('')
      expect(Number((await sh(sandbox, 'ls -d /proc/[0-9]* | wc -l')).out)).toBeLessThan(8)
      expect(
        (await sh(sandbox, 'ls /dev/sd* /dev/vd* /dev/loop* /dev/kvm /dev/mem /dev/kmsg 2>/dev/null; true')).out,
      ).toBe('')
      expect((await sh(sandbox, 'hostname')).out.trim()).toBe('vm0')
    })
  } finally {
    delete process.env.VM0_TEST_CANARY
    await Promise.all(planted.map((path) => rm(path, { force: true })))
  }
})

test('what the host trusts beyond what Node knows is trusted in a sandbox, and can not be changed there', () =>
  withSandbox(async (sandbox) => {
    const extra = await extraCertificates()
    expect((await sh(sandbox, 'cat "${NODE_EXTRA_CA_CERTS:-/dev/null}"')).out.trim()).toBe(extra)
    expect((await sh(sandbox, 'cat "$SSL_CERT_FILE"')).out).toBe(await readFile(trustedCertificates, 'utf8'))
    for (const name of ['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE']) {
      const { out } = await sh(sandbox, `[ -z "$${name}" ] || ! echo x 2>/dev/null >>"$${name}" && echo refused`)
      expect(out).toContain('refused')
    }
  }))

test('a process in it is confined: seccomp, no new privileges, no mounts, no kernel settings, its own uid range', async () => {
  await withSandbox(async (sandbox) => {
    const { out } = await sh(sandbox, 'grep -E "^(Seccomp|NoNewPrivs|CapBnd):" /proc/self/status')
    expect(out).toMatch(/NoNewPrivs:\s+1/)
    expect(out).toMatch(/Seccomp:\s+2/)
    expect(out).toMatch(/CapBnd:\s+00000000a00405fb/)
    for (const forbidden of [
      'mount -t tmpfs x /mnt',
      'echo 1 > /proc/sys/vm/drop_caches',
      'mknod /tmp/sda b 8 0',
      'echo b > /proc/sysrq-trigger',
      'rmdir /sys/fs/cgroup/memory/x 2>&1; mkdir /sys/fs/cgroup/memory/x',
      'chroot / mount --bind / /mnt',
      'dmesg',
      'ip link set lo down',
    ]) {
      expect([forbidden, (await sh(sandbox, `(${forbidden}) >/dev/null 2>&1`)).status === 0]).toEqual([
        forbidden,
        false,
      ])
    }
    const { out: pid } = await exec('sh', [
      '-c',
      `cat /sys/fs/cgroup/pids/vm0/${host.installation}/${sandbox.id}/cgroup.procs /sys/fs/cgroup/vm0/${host.installation}/${sandbox.id}/cgroup.procs 2>/dev/null | head -1`,
    ]).then(({ stdout }) => ({ out: stdout.trim() }))
    expect(Number(/^Uid:\s+(\d+)/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1])).toBeGreaterThanOrEqual(
      300_000,
    )
  })
})

test('limits hold: memory, disk; the sandbox lives on', async () => {
  await withSandbox(async (sandbox) => {
    expect((await sh(sandbox, 'python3 -c "x = bytearray(900 * 1024 * 1024)"')).status).toBe(137)
    // It was ended where it met the limit, by whoever holds it there: the kernel had nothing to do.
    const { memoryPeakBytes, oomKills } = await sandbox.stats()
    expect(memoryPeakBytes).toBeGreaterThan(500 * 1024 ** 2)
    expect(memoryPeakBytes).toBeLessThanOrEqual(512 * 1024 ** 2)
    expect(oomKills).toBe(0)
    expect((await sh(sandbox, 'dd if=/dev/zero of=/workspace/big bs=1M count=500 2>&1')).out).toContain('No space left')
    const { diskTotalBytes } = await sandbox.stats()
    expect(diskTotalBytes).toBeLessThanOrEqual(128 * 1024 ** 2)
    expect((await sh(sandbox, 'rm /workspace/big; echo fine')).out.trim()).toBe('fine')
  })
})

const hasCpuGroups = ['cpu/cpu.shares', 'cgroup.controllers'].some((name) => existsSync(join('/sys/fs/cgroup', name)))

test.skipIf(!hasCpuGroups)(
  'a sandbox that yields takes the CPU that another one leaves, until it need not any more',
  async () => {
    const resources = { cpus: 2 }
    const burn = 'for i in 1 2; do (while :; do :; done) & done; wait'
    await withSandbox(
      async (usual) =>
        withSandbox(
          async (yielding) => {
            const takeShare = await yielding.yieldCpu()
            const used = async () => (await Promise.all([usual.stats(), yielding.stats()])).map(({ cpuMs }) => cpuMs)
            // Both are at it before what is measured; the one that yields could hardly begin beside the other. They end with
            // their sandboxes.
            for (const [index, sandbox] of [yielding, usual].entries()) {
              void sh(sandbox, burn).catch(() => undefined)
              while ((await used())[1 - index]! < 200) await wait(20)
            }
            /** What of the CPU time the second one takes, while the first uses some seconds of it. */
            const part = async (): Promise<number> => {
              const [first = 0, second = 0] = await used()
              for (;;) {
                const [now = 0, other = 0] = await used()
                if (now - first > 2000) return (other - second) / (now - first)
                await wait(20)
              }
            }
            // What else runs on the host takes its part of one CPU more than of the other: one look at it says little.
            while ((await part()) > 0.3);
            await takeShare()
            while ((await part()) < 0.5);
          },
          { resources },
        ),
      { resources },
    )
  },
)

test('the network leads to the gateway and out, not to the host, metadata or another sandbox', async () => {
  await withSandbox(async (one) =>
    withSandbox(async (two) => {
      expect((await sh(one, 'curl -sS -m 5 http://169.254.77.1/')).out).toBe(`gateway sees ${one.address}`)
      const server = two.exec({ args: ['python3', '-m', 'http.server', '8000'], cwd: '/workspace' })
      const reading = server[Symbol.asyncIterator]()
      void reading.next()
      expect(
        (
          await sh(
            two,
            'for i in $(seq 50); do curl -s -m 1 -o /dev/null http://127.0.0.1:8000/ && break; sleep 0.1; done; echo up',
          )
        ).out.trim(),
      ).toBe('up')
      const hostAddress = one.address.replace(/\d+$/, (last) => String(Number(last) - 1))
      const { stdout } = await exec('ip', ['-4', '-j', 'addr', 'show', 'up'])
      const hostAddresses = (JSON.parse(stdout) as { addr_info?: { local: string }[] }[])
        .flatMap(({ addr_info: list = [] }) => list.map(({ local }) => local))
        .filter((address) => !address.startsWith('127.'))
      for (const target of [
        `${two.address}:8000`,
        `${hostAddress}:22`,
        `${host.engine.gatewayAddress}:${gatewayPort}`,
        '169.254.169.254:80',
        ...hostAddresses.map((address) => `${address}:22`),
      ]) {
        expect([target, (await sh(one, `curl -s -m 1 -o /dev/null http://${target}/; echo $?`)).out.trim()]).toEqual([
          target,
          '28',
        ])
      }
      expect((await sh(one, 'cat /proc/net/if_inet6 | grep -v " lo" | grep -v ^fe80; true')).out).toBe('')
    }),
  )
})

test('what sandboxes exchange with the world is counted: by host name for the registries of the host, the rest by kind', async () => {
  await withSandbox(async (sandbox) => {
    const registry = new URL((await exec('npm', ['config', 'get', 'registry'])).stdout.trim())
    const countOf = async (name: string) => {
      const { destinations, refusedPackets } = await host.engine.egress()
      const { sentBytes = 0, receivedBytes = 0 } =
        destinations.find(({ destination }) => destination.split(',').includes(name)) ?? {}
      return { sentBytes, receivedBytes, refusedPackets }
    }
    const [before, namesBefore] = [await countOf(registry.hostname), await countOf('name_servers')]
    const size = Number((await sh(sandbox, `curl -sS -m 20 ${registry.href} | wc -c`)).out)
    const [after, namesAfter] = [await countOf(registry.hostname), await countOf('name_servers')]
    expect(after.receivedBytes - before.receivedBytes).toBeGreaterThan(size + 100)
    expect(after.sentBytes - before.sentBytes).toBeGreaterThan(100)
    if (namesBefore.sentBytes < namesAfter.sentBytes)
      expect(namesAfter.receivedBytes).toBeGreaterThan(namesBefore.receivedBytes)
    await sh(sandbox, 'curl -s -m 1 http://10.11.12.13/')
    expect((await countOf('internet')).refusedPackets).toBeGreaterThan(after.refusedPackets)
    // The gateway's own traffic is the host's: it leaves by the gateway, which counts it itself.
    const internet = await countOf('internet')
    await sh(sandbox, 'curl -sS -m 5 http://169.254.77.1/')
    expect(await countOf('internet')).toEqual(internet)
  })
})

test('the upper of one sandbox, packed, is the same tree under another uid range', async () => {
  const image = join(host.directory, 'layer.erofs')
  const inspect = String.raw`exec 2>&1; cd /workspace; stat -c '%n %a %u:%g %F %Y' a dir fifo hard link $'odd\n name' uid1000; readlink link; stat -c %h hard; getcap capable; getfattr --only-values -n user.k a 2>/dev/null || python3 -c "import os; print(os.getxattr('a', 'user.k').decode())"; ls /etc/motd 2>&1; ls dir2; md5sum a | cut -c1-32`
  const prepare = String.raw`cd /workspace; echo data > a; chmod 4751 a; touch -d 2001-02-03 a; ln a hard; ln -s ../a link; mkdir dir; chmod 1777 dir; mkfifo fifo; touch $'odd\n name'; touch uid1000; chown 1000:1000 uid1000; cp /bin/true capable; python3 -c "import os; os.setxattr('a', 'user.k', b'v')"; python3 -c "import os,struct; os.setxattr('capable','security.capability',struct.pack('<IIIII',0x02000001,1<<10,0,0,0))"; rm -f /etc/motd; rm -rf /usr/share/python3; mkdir dir2; rm -rf dir2; mkdir dir2; echo x > dir2/new; touch -d 2001-02-03 dir fifo hard $'odd\n name' uid1000 -h link`
  const bare = (text: string): string => text.replaceAll('/usr/sbin/', '')
  const before = await withSandbox(async (first) => {
    expect((await sh(first, prepare)).status).toBe(0)
    const { out } = await sh(first, inspect)
    await first.freeze()
    await first.withUpperView(async (upper) => {
      expect((await readdir(upper)).toSorted()).toContain('workspace')
      await exec('mkfs.erofs', ['--quiet', '-Eforce-inode-extended', image, upper])
    })
    await first.thaw()
    // A second one at the same time holds the first slot's successor: another range.
    return withSandbox(
      async (second) => {
        expect(second.address).not.toBe(first.address)
        const restored = await sh(second, inspect)
        expect(bare(restored.out)).toBe(bare(out))
        expect(
          (
            await sh(
              second,
              'ls -d /usr/share/python3 2>&1; echo changed >> /workspace/a && apt-get --version >/dev/null && cat /workspace/a',
            )
          ).out,
        ).toMatch(/No such file[^]*data\nchanged/)
        return out
      },
      { layers: [{ path: image, devices: [] }] },
    )
  })
  expect(before).toContain('4751 0:0')
  expect(before).toContain('1000:1000')
})

test('a monitored process: lines of several megabytes, both streams, status, stdin; and an end at the output limit', async () => {
  await withSandbox(async (sandbox) => {
    const process = await sandbox.spawn({
      id: 'p1',
      args: [
        'python3',
        '-c',
        'import sys; n = sys.stdin.readline().strip(); print("x" * int(n)); print("err", file=sys.stderr); sys.exit(7)',
      ],
      env: {},
      cwd: '/',
      maxOutputBytes: 64 * 1024 ** 2,
    })
    await process.write('5000000')
    const lines = await all(process.output())
    expect(lines.map(({ stream, text }) => [stream, text.length]).toSorted()).toEqual([
      ['stderr', 3],
      ['stdout', 5_000_000],
    ])
    expect(Math.abs(lines[0]!.timeMs - Date.now())).toBeLessThan(60_000)
    expect(await process.exited).toEqual({ exitCode: 7, reason: 'exit' })
    const endless = await sandbox.spawn({ id: 'p2', args: ['yes'], env: {}, cwd: '/', maxOutputBytes: 1024 ** 2 })
    let count = 0
    for await (const line of endless.output()) count += line.text.length
    expect((await endless.exited).reason).toBe('output_limit')
    expect(count).toBeGreaterThan(0)
  })
})

test('what it took is given back', async () => {
  // Other test files take slots of this host meanwhile: those of this installation bear its name.
  const slots = async () => (await exec('grep', ['-lx', host.installation, '-r', '/run/vm0/slots'])).stdout
  const before = await slots()
  const ids: string[] = []
  await withSandbox(async (sandbox) => {
    ids.push(sandbox.id)
  })
  const { stdout: mounts } = await exec('cat', ['/proc/self/mounts'])
  expect(mounts).not.toContain(ids[0])
  expect((await exec('sh', ['-c', 'find /sys/fs/cgroup -name "$0"', ids[0]!])).stdout).toBe('')
  expect((await exec('ip', ['-br', 'link'])).stdout).not.toMatch(new RegExp(`v${host.installation}\\w`))
  expect(await slots()).toBe(before)
})

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const item of items) list.push(item)
  return list
}
