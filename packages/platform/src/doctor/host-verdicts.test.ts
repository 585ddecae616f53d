import { expect, test } from 'vitest'
import type { HostFacts } from './host-facts.js'
import { judgeHost } from './host-verdicts.js'

const gibibyte = 1024 ** 3
const good: HostFacts = {
  kernel: '6.1.0-28-amd64',
  arch: 'x64',
  uid: 0,
  cgroup: { version: 2, controllers: ['cpuset', 'cpu', 'io', 'memory', 'pids'], writable: true },
  runtime: 'crun version 1.8.1',
  missingPrograms: [],
  missingFileSystems: [],
  hasLoopDevices: true,
  namespaces: undefined,
  seccompActions: ['kill_process', 'errno', 'allow'],
  disks: [
    { use: 'data', directory: '/data', freeBytes: 50 * gibibyte },
    { use: 'cache', directory: '/cache', freeBytes: 50 * gibibyte },
  ],
  template: `sha256:${'0'.repeat(64)}`,
  agents: [{ name: 'claude-code', versions: ['2.1.330'], broken: [] }],
  hasModelKey: true,
  modelUrl: 'https://api.anthropic.com',
}

test('a machine that has everything', () => {
  expect(judgeHost(good).filter(({ status }) => status !== 'ok')).toEqual([])
  const version1 = { version: 1 as const, controllers: ['memory', 'pids', 'cpu', 'freezer', 'devices'], writable: true }
  expect(judgeHost({ ...good, cgroup: version1 }).find(({ name }) => name === 'cgroup')?.status).toBe('ok')
})

test.each<[string, Partial<HostFacts>, string, string, RegExp]>([
  ['an old kernel', { kernel: '5.15.0-100-generic' }, 'kernel', 'problem', /6\.1/],
  ['an old major with a high minor', { kernel: '5.19.1' }, 'kernel', 'problem', /6\.1/],
  ['another architecture', { arch: 's390x' }, 'kernel', 'problem', /x64 or arm64/],
  ['another user', { uid: 1000 }, 'root', 'problem', /as root/],
  [
    'controllers off',
    { cgroup: { version: 2, controllers: ['cpu', 'pids'], writable: true } },
    'cgroup',
    'problem',
    /subtree_control/,
  ],
  [
    'controllers not mounted',
    { cgroup: { version: 1, controllers: [], writable: false } },
    'cgroup',
    'problem',
    /Mount/,
  ],
  ['a read-only hierarchy', { cgroup: { ...good.cgroup, writable: false } }, 'cgroup', 'problem', /privileged/],
  ['no runtime', { runtime: undefined }, 'runtime', 'problem', /apt-get install crun/],
  [
    'programs missing',
    { missingPrograms: ['nft', 'flock', 'unshare'] },
    'programs',
    'problem',
    /install nftables util-linux$/,
  ],
  ['no erofs', { missingFileSystems: ['erofs'] }, 'filesystems', 'problem', /modules/],
  ['no loop devices', { hasLoopDevices: false }, 'filesystems', 'problem', /modprobe loop/],
  ['no namespaces', { namespaces: 'unshare failed' }, 'namespaces', 'problem', /max_user_namespaces/],
  ['no filter', { seccompActions: [] }, 'seccomp', 'problem', /CONFIG_SECCOMP_FILTER/],
  ['a full disk', { disks: [{ use: 'data', directory: '/d', freeBytes: gibibyte }] }, 'disk-data', 'problem', /2 GiB/],
  [
    'a disk that fills up',
    { disks: [{ use: 'cache', directory: '/c', freeBytes: 5 * gibibyte }] },
    'disk-cache',
    'warning',
    /10 GiB/,
  ],
  ['no template', { template: undefined }, 'template', 'warning', /vm0 up/],
  ['no agent', { agents: [{ name: 'claude-code', versions: [], broken: [] }] }, 'agent', 'warning', /vm0 up/],
  [
    'a broken agent',
    { agents: [{ name: 'claude-code', versions: ['2.1.330'], broken: ['2.1.330'] }] },
    'agent',
    'problem',
    /frameworks install claude-code@2\.1\.330/,
  ],
  ['no model key', { hasModelKey: false }, 'model', 'warning', /ANTHROPIC_API_KEY/],
])('%s', (_name, facts, name, status, fix) => {
  const check = judgeHost({ ...good, ...facts }).find((each) => each.name === name)
  expect(check).toMatchObject({ status, fix: expect.stringMatching(fix) as string })
})
