import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Script } from '@vm0/testkit'
import type { Session, Vm0 } from '../../packages/vm0/src/index.js'

export const fixtures = join(import.meta.dirname, '../../fixtures/compat')

/** What a session of an earlier version of VM0 has to have when a later one opens it. */
export interface Expected {
  /** The version that made it. */
  vm0: string
  agent: string | null
  prompts: string[]
  /** Of every file: kind, mode, owner, links, size, time, name and target of a link, then the digests. */
  listing: string
}

const bash = (command: string) => [{ name: 'Bash', input: { command, description: 'x' } }]

/** Also what the test that opens a fixture asks for. */
export const compatScript: Script = {
  name: 'compat',
  conversations: [
    {
      when: 'begin the program',
      steps: [
        { tools: bash('cd /workspace && mkdir src && echo \'print("hello")\' > src/main.py && echo gone > gone') },
        { text: 'begun' },
      ],
    },
    {
      when: 'change the program',
      steps: [{ tools: bash('cd /workspace && echo \'print("bye")\' >> src/main.py && rm gone') }, { text: 'changed' }],
    },
    { when: 'go on with it', steps: [{ tools: bash('cat /workspace/src/main.py') }, { text: 'it is all there' }] },
  ],
}

/** Modes, owners, times, links, holes, odd names, deletions of the session's own and of the template's files, software. */
const oddFiles = String.raw`set -e; cd /workspace
chmod 750 src/main.py; touch -d '2001-02-03 04:05:06 UTC' src/main.py
mkdir -p src/deep; ln src/main.py src/deep/hard; ln -s ../main.py src/deep/soft; chown -R 1000:1000 src/deep; chmod 2775 src/deep
truncate -s 20M holes; printf middle | dd of=holes bs=1 seek=9000000 conv=notrunc status=none
echo odd > "$(printf 'odd \377 \n name')"; : > empty; mkfifo pipe
printf '#!/bin/sh\necho tool of the session\n' > /usr/local/bin/its-tool; chmod 755 /usr/local/bin/its-tool
mkdir -p /opt/replaced && echo new > /opt/replaced/file; rm -f /etc/motd; echo 'own = 1' > /root/.own`

export const listing = String.raw`cd /
find workspace opt/replaced usr/local/bin/its-tool root/.own ! -type d -printf '%y %m %U:%G %n %s %p %l\0' -o -mindepth 1 -printf '%y %m %U:%G %p\0' |
  tr '\n\0' '?\n' | cat -v | LC_ALL=C sort
test -e etc/motd || echo no motd
stat -c '%n %Y' workspace/src/main.py; python3 -c 'import os; file = os.open("workspace/holes", 0); at = os.lseek(file, 0, os.SEEK_DATA); print("holes to", at, "from", os.lseek(file, at, os.SEEK_HOLE))'
find workspace opt/replaced usr/local/bin/its-tool -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | cat -v; its-tool`

/** Makes the fixture of a version: a session as it exports it, and what it has to have. */
export async function makeFixture(client: Vm0, version: string): Promise<string> {
  const prompts = ['begin the program', 'change the program']
  const first = client.run({ prompt: prompts[0] as string, labels: { made: 'for compatibility' } })
  const { session } = await first
  await session.close()
  const { exitCode, stderr } = await session.exec(oddFiles)
  if (exitCode !== 0) throw new Error(stderr)
  await session.run(prompts[1] as string)
  const expected: Expected = {
    vm0: version,
    agent: (await client.runs.get(first.id).get()).agentVersion,
    prompts,
    listing: await listed(session),
  }
  const folder = join(fixtures, version)
  await mkdir(folder, { recursive: true })
  const parts: Uint8Array[] = []
  for await (const part of await session.export({ withoutTemplate: true })) parts.push(part)
  await writeFile(join(folder, 'session.tar'), Buffer.concat(parts))
  await writeFile(join(folder, 'expected.json'), `${JSON.stringify(expected, null, 2)}\n`)
  return folder
}

export async function listed(session: Session): Promise<string> {
  const { stdout, stderr, exitCode } = await session.exec(listing)
  if (exitCode !== 0) throw new Error(stderr)
  return stdout
}

export async function readFixtures(): Promise<{ version: string; archive: Buffer; expected: Expected }[]> {
  const versions = (await readdir(fixtures)).filter((name) => /^\d/.test(name)).toSorted()
  return Promise.all(
    versions.map(async (version) => ({
      version,
      archive: await readFile(join(fixtures, version, 'session.tar')),
      expected: JSON.parse(await readFile(join(fixtures, version, 'expected.json'), 'utf8')) as Expected,
    })),
  )
}
