import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { TestPlatform } from './support/platform.js'

const canary = `canary${process.pid}x${Date.now()}`
/** In two pieces, so that the search does not find itself. */
const pattern = `${canary.slice(0, 8)}''${canary.slice(8)}`
const look = [
  'env',
  'cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/[0-9]*/mountinfo /proc/[0-9]*/status 2>/dev/null | tr "\\\\0" "\\\\n"',
  'readlink /proc/[0-9]*/fd/* /proc/[0-9]*/cwd /proc/[0-9]*/exe /proc/[0-9]*/root',
  'find / -xdev -not -path "/proc/*" -not -path "/sys/*" 2>/dev/null',
  'grep -rsF "" /etc /run /root /tmp /var/lib/dpkg/status /workspace --include="*" -h 2>/dev/null',
  'find /sys -maxdepth 6 2>/dev/null',
].join('; ')
const script = {
  name: 'canaries',
  conversations: [
    {
      when: '^look around',
      steps: [
        {
          tools: [
            {
              name: 'Bash',
              input: {
                command: `{ ${look}; } > /workspace/seen 2>/dev/null; grep -cF '${pattern}' /workspace/seen`,
                description: 'x',
              },
            },
          ],
        },
        { text: 'looked' },
      ],
    },
  ],
}

function linesWith(text: string, part: string): string[] {
  return text
    .split('\n')
    .filter((line) => line.includes(part))
    .map((line) => line.slice(0, 200))
}

const planted = [
  join(tmpdir(), canary),
  join(homedir(), canary),
  `/etc/${canary}`,
  `/var/tmp/${canary}`,
  `/opt/${canary}/${canary}`,
]
let platform: TestPlatform
beforeAll(async () => {
  await mkdir(`/opt/${canary}`)
  await Promise.all(planted.map((path) => writeFile(path, canary)))
  const names = ['ANTHROPIC_API_KEY', 'DATABASE_URL_UNUSED', 'AWS_SECRET_ACCESS_KEY', 'GITHUB_TOKEN', 'VM0_TEST_SECRET']
  platform = await TestPlatform.start([script], Object.fromEntries(names.map((name) => [name, `${canary}-${name}`])))
})
afterAll(async () => {
  await platform?.stop()
  await Promise.all([...planted, `/opt/${canary}`].map((path) => rm(path, { recursive: true, force: true })))
})

test("an agent and its tools see nothing of the platform's secrets, of the host's files, or of where they lie", async () => {
  const run = platform.client.run({ prompt: 'look around' })
  expect((await run).text).toBe('looked')
  const seen = await run.session.files.readText('/workspace/seen')
  expect(seen.length).toBeGreaterThan(100_000)
  expect(seen).toContain('ANTHROPIC_API_KEY=placeholder')
  expect(linesWith(seen, canary)).toEqual([])
  expect(linesWith(seen, platform.apiKey)).toEqual([])
  expect(linesWith(seen, platform.directory)).toEqual([])
  const master = JSON.parse(await readFile(join(platform.directory, 'data/keys/master.json'), 'utf8')) as object
  for (const secret of Object.values(master).filter((value) => typeof value === 'string' && value.length > 20))
    expect(linesWith(seen, secret as string)).toEqual([])
  await run.session.delete()
})
