import type { Check } from '@vm0/contract'
import { neededFileSystems, neededPrograms, type HostFacts } from './host-facts.js'

const gibibyte = 1024 ** 3
/** The template's build needs as much for a while. */
const leastFreeBytes = 2 * gibibyte
/** What one session may grow to by default. */
const comfortableFreeBytes = 10 * gibibyte
const neededControllers = { 1: ['memory', 'pids', 'cpu', 'freezer', 'devices'], 2: ['memory', 'pids', 'cpu'] } as const

type Verdict = Omit<Check, 'name'>
const ok = (found: string): Verdict => ({ status: 'ok', found })
const warning = (found: string, fix: string): Verdict => ({ status: 'warning', found, fix })
const problem = (found: string, fix: string): Verdict => ({ status: 'problem', found, fix })

/** What the facts mean for `vm0 up` on this machine. */
export function judgeHost(facts: HostFacts): Check[] {
  return [
    { name: 'kernel', ...kernel(facts) },
    { name: 'root', ...root(facts) },
    { name: 'cgroup', ...cgroup(facts) },
    { name: 'runtime', ...runtime(facts) },
    { name: 'programs', ...programs(facts) },
    { name: 'filesystems', ...fileSystems(facts) },
    { name: 'namespaces', ...namespaces(facts) },
    { name: 'seccomp', ...seccomp(facts) },
    ...facts.disks.map((each) => ({ name: `disk-${each.use}`, ...disk(each) })),
    { name: 'template', ...template(facts) },
    ...facts.agents.map((agent) => ({ name: 'agent', ...releases(agent) })),
    { name: 'model', ...model(facts) },
  ]
}

function kernel({ kernel: version, arch }: HostFacts): Verdict {
  const [major = 0, minor = 0] = version.split(/[.-]/).map(Number)
  const found = `Linux ${version} on ${arch}`
  if (arch !== 'x64' && arch !== 'arm64') return problem(found, 'Use an x64 or arm64 machine.')
  if (major > 6 || (major === 6 && minor >= 1)) return ok(found)
  return problem(found, 'Use Linux 6.1 or newer: Debian 12 or Ubuntu 24.04 have it.')
}

function root({ uid }: HostFacts): Verdict {
  if (uid === 0) return ok('this is root')
  return problem(`this is user ${uid}, not root`, 'Run `vm0 up` as root: it makes namespaces, mounts and cgroups.')
}

function cgroup({ cgroup: { version, controllers, writable } }: HostFacts): Verdict {
  const missing = neededControllers[version].filter((name) => !controllers.includes(name))
  const found = `version ${version}`
  if (missing.length > 0)
    return problem(
      `${found}, without the controllers ${missing.join(', ')}`,
      version === 2
        ? 'Turn them on for the root group: echo "+memory +pids +cpu" >/sys/fs/cgroup/cgroup.subtree_control; in a container, start that with them.'
        : 'Mount the controllers under /sys/fs/cgroup, or boot with systemd.unified_cgroup_hierarchy=1.',
    )
  if (!writable)
    return problem(
      `${found}, read-only`,
      'Mount /sys/fs/cgroup writable; in a container, start that with --privileged.',
    )
  return ok(`${found} with ${neededControllers[version].join(', ')}`)
}

function runtime({ runtime: version }: HostFacts): Verdict {
  return version ? ok(version) : problem('crun can not be started', 'apt-get install crun')
}

function programs({ missingPrograms }: HostFacts): Verdict {
  if (missingPrograms.length === 0) return ok(`all ${Object.values(neededPrograms).flat().length} that are needed`)
  const packages = Object.entries(neededPrograms)
    .filter(([, names]) => names.some((name) => missingPrograms.includes(name)))
    .map(([name]) => name)
  return problem(`not on PATH: ${missingPrograms.join(', ')}`, `apt-get install ${packages.join(' ')}`)
}

function fileSystems({ missingFileSystems, hasLoopDevices }: HostFacts): Verdict {
  if (missingFileSystems.length > 0)
    return problem(
      `the kernel does not know ${missingFileSystems.join(', ')}`,
      "Install the kernel's modules: apt-get install linux-image-amd64, or linux-modules-extra-$(uname -r) on Ubuntu.",
    )
  if (!hasLoopDevices) return problem('there are no loop devices', 'modprobe loop')
  return ok(`${neededFileSystems.join(', ')} and loop devices`)
}

function namespaces({ namespaces: refused }: HostFacts): Verdict {
  if (refused === undefined) return ok('user, mount, net, ipc, uts and pid namespaces can be made')
  return problem(
    `namespaces can not be made: ${refused}`,
    'Set user.max_user_namespaces above 0 with sysctl; in a container, start that with --privileged.',
  )
}

function seccomp({ seccompActions }: HostFacts): Verdict {
  if (seccompActions.includes('errno') && seccompActions.includes('allow')) return ok('system calls can be filtered')
  return problem('the kernel can not filter system calls', 'Use a kernel with CONFIG_SECCOMP_FILTER.')
}

function disk({ directory, freeBytes }: HostFacts['disks'][number]): Verdict {
  const found = `${(freeBytes / gibibyte).toFixed(1)} GiB free for ${directory}`
  if (freeBytes < leastFreeBytes) return problem(found, 'Free at least 2 GiB, or choose another folder with --data.')
  if (freeBytes < comfortableFreeBytes) return warning(found, 'A session may grow to 10 GiB: free some space.')
  return ok(found)
}

function template({ template: digest }: HostFacts): Verdict {
  if (digest) return ok(`standard is built (${digest.slice(0, 15)}…)`)
  return warning('standard is not built yet', '`vm0 up` builds it at its first start: about half a minute.')
}

function releases({ name, versions, broken }: HostFacts['agents'][number]): Verdict {
  if (broken.length > 0)
    return problem(
      `${name} ${broken.join(', ')} is installed without its program`,
      `Remove that folder from the cache, then: vm0 frameworks install ${name}@${broken.at(-1)}`,
    )
  if (versions.length > 0) return ok(`${name} ${versions.join(', ')}`)
  return warning(`${name} is not installed yet`, '`vm0 up` installs it at its first start.')
}

function model({ hasModelKey, modelUrl }: HostFacts): Verdict {
  if (hasModelKey) return ok(`ANTHROPIC_API_KEY is set; requests go to ${modelUrl}`)
  return warning(
    "ANTHROPIC_API_KEY is not set: the model's answers would be scripted",
    'Set ANTHROPIC_API_KEY (and ANTHROPIC_BASE_URL, where it is another) in the environment of `vm0 up`.',
  )
}
