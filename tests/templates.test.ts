import { mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { TemplateProgress } from '../packages/vm0/src/index.js'
import { command, objects } from './support/command.js'
import { TestPlatform } from './support/platform.js'
import { workScript } from './support/scripts.js'

const recipe = {
  packages: ['cowsay'],
  // Without what takes most room, so that images are made quickly.
  commands: [
    'rm -rf /usr/lib/gcc /usr/include /usr/local/* /usr/lib/python3* /usr/lib/git-core; mkdir /usr/local/bin',
    'rm -rf /usr/bin/x86_64-linux-gnu-* /usr/bin/git* /usr/share/perl /usr/lib/*-linux-gnu/*.a /usr/lib/*-linux-gnu/*san.so*',
    'echo one > /etc/greeting; echo "$GREETING" >> /etc/greeting',
  ],
  env: { GREETING: 'hello' },
  resources: { memoryMiB: 1024 },
}

/** Makes a Debian package with a program of its name, and installs it. */
const install = (name: string, version: string): string =>
  [
    `mkdir -p /tmp/${name}/DEBIAN /tmp/${name}/usr/bin /tmp/${name}/opt && touch /tmp/${name}/opt/${name}`,
    `printf '#!/bin/sh\necho ${name}\n' >/tmp/${name}/usr/bin/${name} && chmod +x /tmp/${name}/usr/bin/${name}`,
    `printf 'Package: ${name}\nVersion: ${version}\nArchitecture: all\nMaintainer: x\nDescription: x\n' >/tmp/${name}/DEBIAN/control`,
    `dpkg-deb --build /tmp/${name} >/dev/null && dpkg -i /tmp/${name}.deb && rm -r /tmp/${name}*`,
  ].join(' && ')

let platform: TestPlatform
let folder: string
beforeAll(async () => {
  platform = await TestPlatform.start([workScript], { VM0_GC_SECONDS: '0' }, { args: ['--warm', '1'] })
  folder = await mkdtemp(join(tmpdir(), 'vm0-templates-'))
})
afterAll(async () => {
  await platform?.stop()
  await rm(folder, { recursive: true, force: true })
})

const objectFiles = (kind: string): Promise<string[]> =>
  readdir(join(platform.dataDir, 'objects', kind)).catch(() => [])

/** Everything that is in the store was written two hours ago. */
async function makeOld(): Promise<void> {
  const twoHoursAgo = new Date(Date.now() - 2 * 3_600_000)
  const root = join(platform.dataDir, 'objects')
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) await utimes(join(entry.parentPath, entry.name), twoHoursAgo, twoHoursAgo)
}

test('a folder with packages and commands becomes a template, its steps are shown, and a run in it has what it gives', async () => {
  await writeFile(join(folder, 'vm0.template.json'), JSON.stringify(recipe))
  const built = await command(platform, ['templates', 'build', 'web', folder])
  expect(built).toMatchObject({ status: 0, stderr: '' })
  expect(built.stdout).toContain('▸ 1/4 apt-get install cowsay\n')
  expect(built.stdout).toMatch(/Setting up cowsay/)
  expect(built.stdout).toMatch(/✓ web@1 .*\n {2}web means it now/)
  expect((await platform.client.templates.get('web')).versions[0]).toMatchObject({
    version: 1,
    promoted: true,
    env: { GREETING: 'hello' },
    resources: { memoryMiB: 1024 },
    origin: { kind: 'recipe', packages: ['cowsay'] },
  })
  // Its sandbox and session are gone.
  expect((await platform.client.sessions.list()).items).toEqual([])
  expect((await platform.client.runners.list())[0]).toMatchObject({ sessions: 0 })

  // A miss of the warm pool; the second run finds the session's own sandbox.
  const run = await command(platform, ['run', '--template', 'web', 'append a line'])
  expect(run.stdout).toMatch(/✓ ready in .* web@1 {2}claude-code/)
  const [session] = (await platform.client.sessions.list()).items
  expect(session?.resources).toEqual({ memoryMiB: 1024 })
  const found = platform.client.sessions.get(session!.id)
  const inside = await found.exec('cat /etc/greeting; echo "$GREETING"; dpkg -s cowsay | grep Status')
  expect(inside.stdout).toBe('one\nhello\nhello\nStatus: install ok installed\n')
  const agentEnv = await found.exec(
    'for p in /proc/[0-9]*; do tr "\\0" "\\n" < $p/environ 2>/dev/null; done | grep ^GREETING= | sort | uniq',
  )
  expect(agentEnv.stdout).toBe('GREETING=hello\n')
  expect((await found.exec('echo "$GREETING"', { env: { GREETING: 'mine' } })).stdout).toBe('mine\n')
  await found.close()
  await found.run('append a line')
  expect(await found.files.readText('/workspace/lines.txt')).toBe('line\nline\n')
})

test('a name means its promoted version, sessions keep theirs, and what is in use is not removed', async () => {
  const { templates, sessions } = platform.client
  const old = await sessions.create({ template: 'web' })
  expect(await templates.build('web', { from: 'web', commands: ['echo two > /etc/greeting'] })).toMatchObject({
    version: 2,
    promoted: false,
  })
  const one = (await old.get()).template
  const template = async (wanted: string): Promise<string> =>
    (await (await sessions.create({ template: wanted })).get()).template
  expect(await template('web')).toBe(one)
  const two = await template('web@2')
  expect(await template(two)).toBe(two)
  expect(two).not.toBe(one)
  const promoted = await command(platform, ['templates', 'promote', 'web@2'])
  expect(promoted.stdout).toBe('web means web@2\n')
  expect(await template('web')).toBe(two)
  const fresh = await sessions.create({ template: 'web' })
  expect((await fresh.exec('cat /etc/greeting')).stdout).toBe('two\n')
  expect((await old.exec('cat /etc/greeting')).stdout).toBe('one\nhello\n')
  expect((await command(platform, ['templates', 'rollback', 'web'])).stdout).toBe('web means web@1\n')

  const used = await command(platform, ['templates', 'rm', 'web@2'])
  expect(used).toMatchObject({ status: 2, stderr: expect.stringContaining('TEMPLATE_IN_USE') })
  expect(used.stderr).toContain(fresh.id)
  for (const { id, template: digest } of (await sessions.list()).items)
    if (digest === two) await sessions.get(id).delete()
  await expect(templates.delete('web', 1)).rejects.toMatchObject({ code: 'TEMPLATE_IN_USE' })
  expect(await command(platform, ['templates', 'rm', 'web@2'])).toMatchObject({ status: 0 })
  await expect(sessions.create({ template: 'web@2' })).rejects.toMatchObject({ code: 'UNKNOWN_TEMPLATE' })
  await expect(sessions.create({ template: two })).rejects.toMatchObject({ code: 'UNKNOWN_TEMPLATE' })
  // Numbers are given once.
  const listed = objects(await command(platform, ['templates', '--json']))
  expect(listed.map(({ name }) => name as string)).toEqual(['standard', 'web'])

  await makeOld()
  const layers = await objectFiles('layers')
  expect(layers).toContain(two.replace(':', '-'))
  await platform.client.store.gc()
  const left = await objectFiles('layers')
  expect(left).toContain(one.replace(':', '-'))
  expect(left).not.toContain(two.replace(':', '-'))
  expect(await platform.client.store.fsck({ deep: true })).toMatchObject({ problems: [] })
})

test('a step that fails says which and what it said, and leaves nothing', async () => {
  const before = await Promise.all(['layers', 'manifests'].map(objectFiles))
  const heard: TemplateProgress[] = []
  const failed = platform.client.templates.build(
    'broken',
    { commands: ['echo fine', 'echo no such thing >&2; exit 7', 'echo never'] },
    { onOutput: (line) => heard.push(line) },
  )
  await expect(failed).rejects.toMatchObject({
    code: 'TEMPLATE_STEP_FAILED',
    message: expect.stringMatching(
      /^step 2 of 3, "echo no such thing.*ended with status 7; its last words: no such thing$/,
    ),
  })
  expect(heard.filter(({ type }) => type === 'step')).toHaveLength(2)
  await expect(platform.client.templates.get('broken')).rejects.toMatchObject({ code: 'UNKNOWN_TEMPLATE' })
  expect((await platform.client.runners.list())[0]?.sessions).toBeLessThanOrEqual(2)
  expect(await Promise.all(['layers', 'manifests'].map(objectFiles))).toEqual(before)
  const status = await command(platform, ['templates', 'build', 'broken', '--run', 'exit 9'])
  expect(status).toMatchObject({ status: 3, stderr: expect.stringContaining('it said nothing') })
})

test('a build whose platform is killed leaves nothing behind, and the next one works', async () => {
  const stuck = platform.client.templates.build(
    'stuck',
    { commands: ['echo at work; sleep 600'] },
    { onOutput: () => void reached() },
  )
  let reached = (): void => undefined
  const begun = new Promise<void>((resolve) => (reached = resolve))
  void stuck.catch(() => undefined)
  await begun
  await platform.kill()
  await expect(stuck).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' })
  await platform.up()
  expect((await platform.client.runners.list())[0]?.sessions).toBeLessThanOrEqual(2)
  await expect(platform.client.templates.get('stuck')).rejects.toMatchObject({ code: 'UNKNOWN_TEMPLATE' })
  const stop = new AbortController()
  const aborted = platform.client.templates.build(
    'stuck',
    { commands: ['echo at work; sleep 600'] },
    { signal: stop.signal, onOutput: ({ type }) => type === 'output' && stop.abort() },
  )
  await expect(aborted).rejects.toMatchObject({ code: 'CANCELLED' })
})

test('a session becomes a template without its conversation, and its files and software are in the next one', async () => {
  const { client } = platform
  const { session } = await client.run({ template: 'web', prompt: 'append a line' })
  await session.exec(
    'printf "#!/bin/sh\\necho tool" > /usr/local/bin/tool; chmod +x /usr/local/bin/tool; echo x > /tmp/x',
  )
  const { status, stdout } = await command(platform, ['templates', 'from-session', session.id, 'warm', '--json'])
  expect(status).toBe(0)
  const [built] = objects({ status, stdout, stderr: '' }).filter(({ type }) => type === 'built')
  expect(built?.template).toMatchObject({ name: 'warm', version: 1, origin: { kind: 'session', session: session.id } })
  const next = await client.sessions.create({ template: 'warm@1' })
  const found = await next.exec('tool; cat lines.txt; ls /tmp /root/.claude/projects 2>&1; cat /etc/greeting')
  expect(found.stdout).toMatch(/^tool\nline\n/)
  expect(found.stdout).toMatch(/No such file/)
  expect(found.stdout).not.toMatch(/^x$/m)
  expect(found.stdout).toMatch(/one\nhello\n$/)
  const asked = platform.model.requests.length
  await next.run('append a line')
  expect(JSON.stringify(platform.model.requests.slice(asked)).match(/append a line/g)).toHaveLength(2)
  await expect((await client.sessions.create()).toTemplate('warm')).rejects.toMatchObject({
    code: 'CHECKPOINT_NOT_FOUND',
  })
})

test('a session moves to another version with its files, software and conversation, and goes back', async () => {
  const { client } = platform
  const { session } = await client.run({ template: 'web@1', prompt: 'append a line' })
  const setUp = [
    'printf "#!/bin/sh\\necho tool" > /usr/local/bin/tool; chmod +x /usr/local/bin/tool',
    'echo mine > /etc/greeting; rm /usr/games/cowsay; dpkg --purge libtext-charwidth-perl cowsay',
  ]
  expect((await session.exec(`${setUp.join(';')}; ${install('mine', '1')}`)).exitCode).toBe(0)
  const commands = [
    'echo three > /etc/greeting; echo three > /etc/three; echo x >> /usr/share/doc/cowsay/copyright',
    install('theirs', '1'),
  ]
  const { version, digest } = await client.templates.build('web', { from: 'web@1', commands, env: { GREETING: 'bye' } })
  const target = `web@${version}`
  const asked = await command(platform, ['sessions', 'upgrade', session.id, '--template', target, '--dry-run'])
  expect(asked.stdout).toMatch(/would move from web@1 to web@\d\n {2}goes on seeing its own \d files:\n/)
  expect(asked.stdout).toContain('/etc/greeting   changed here, changed there\n')
  expect(asked.stdout).toContain('/usr/share/doc/cowsay/copyright   removed here, changed there\n')
  expect(asked.stdout).toContain('  /var/lib/dpkg/status: its own packages beside those of the template\n')
  const { head: before, template: old } = await session.get()
  expect(old).not.toBe(digest)

  const moved = await command(platform, ['sessions', 'upgrade', session.id, '--template', target, '--json'])
  const [report] = objects(moved)
  expect(report).toMatchObject({ moved: true, before, from: old, to: digest, merged: ['/var/lib/dpkg/status'] })
  expect(await session.get()).toMatchObject({ template: digest, head: report?.head })
  const look = 'tool; cat /etc/greeting /etc/three lines.txt; echo "$GREETING"; ls /usr/games/cowsay'
  expect((await session.exec(look)).stdout).toBe('tool\nmine\nthree\nline\nbye\n')
  // What dpkg says is what is there: the session's package and the template's, and not what the session removed.
  const packages = "dpkg-query -W -f '${Package} ${Status}\\n' mine theirs cowsay bash 2>/dev/null"
  expect((await session.exec(packages)).stdout).toBe(
    ['bash', 'mine', 'theirs'].map((name) => `${name} install ok installed\n`).join(''),
  )
  expect((await session.exec(`dpkg --audit; dpkg -L mine theirs | grep opt/; mine; theirs`)).stdout).toBe(
    '/opt/mine\n/opt/theirs\nmine\ntheirs\n',
  )
  expect((await session.exec(`${install('mine', '2')} && dpkg --purge theirs && dpkg --audit`)).exitCode).toBe(0)
  const requests = platform.model.requests.length
  await session.run('append a line')
  // The conversation came along.
  expect(JSON.stringify(platform.model.requests[requests]).match(/append a line/g)?.length).toBeGreaterThanOrEqual(2)
  const { items } = await session.checkpoints.views({ limit: 10 })
  expect(items.map(({ cause }) => cause)).toContain('upgrade')
  // A run counts for what its sandbox was made of, not for where its session is now.
  const { cohorts } = await client.insights({ by: 'template' })
  expect(cohorts.map(({ value }) => value)).toEqual(expect.arrayContaining(['web@1', target]))
  expect((await command(platform, ['sessions', 'upgrade', session.id, '--template', target])).stdout).toMatch(
    /already\n$/,
  )
  expect(await client.templates.delete('web', version).catch((error: Error) => error.message)).toMatch(/in use/)

  const back = await command(platform, ['rollback', before!.slice(7, 15)])
  expect(back.status).toBe(0)
  expect((await session.get()).template).toBe(old)
  expect((await session.exec('tool; cat /etc/greeting lines.txt; echo "$GREETING"; cat /etc/three')).stdout).toBe(
    'tool\nmine\nline\nhello\n',
  )
  expect((await session.exec(packages)).stdout).toBe('bash install ok installed\nmine install ok installed\n')

  const hanging = await client.sessions.create({ template: 'web' })
  const busy = hanging.run('hang')
  for await (const event of busy) if (event.type === 'sandbox.ready') break
  await expect(hanging.upgrade(target)).rejects.toMatchObject({ code: 'SESSION_BUSY' })
  const fork = await session.fork()
  const all = await command(platform, ['sessions', 'upgrade', '--all', '--template', target, '--json'])
  expect(all.status).toBe(3)
  expect(objects(all)).toContainEqual({
    sessionId: hanging.id,
    error: { code: 'SESSION_BUSY', message: expect.stringContaining('idle') as string },
  })
  expect((await fork.get()).template).toBe(digest)
  expect((await fork.exec('tool; cat /etc/three')).stdout).toBe('tool\nthree\n')
  await busy.cancel()
  expect((await client.store.fsck()).problems).toEqual([])
})

test('a folder with a Dockerfile becomes a template: files, owners, variables, in the order of its lines', async () => {
  const root = join(folder, 'docker')
  await mkdir(join(root, 'src/deep'), { recursive: true })
  await mkdir(join(root, 'left-out'))
  const files = { 'src/a.txt': 'a', 'src/deep/b.txt': 'b', 'run.sh': '#!/bin/sh\necho ran', 'left-out/x': 'x' }
  for (const [name, text] of Object.entries(files)) await writeFile(join(root, name), text)
  await symlink('a.txt', join(root, 'src/link'))
  await writeFile(join(root, '.dockerignore'), '# not these\nleft-out\n')
  const lines = [
    'FROM web@1',
    'ARG VERSION=1',
    'ENV APP=/opt/app',
    'COPY --chown=1000:1000 src $APP/',
    'COPY --chmod=750 *.sh /usr/local/bin/tool',
    'WORKDIR $APP',
    'COPY . all/',
    'RUN echo "$VERSION $PWD $APP $GREETING" > version',
    'CMD ["tool"]',
  ]
  await writeFile(join(root, 'Dockerfile'), lines.join('\n'))
  const built = await command(platform, ['templates', 'build', 'docker', root, '--build-arg', 'VERSION=7'])
  expect(built).toMatchObject({ status: 0, stderr: '' })
  expect(built.stdout).toContain('CMD: passed over')
  expect(built.stdout).toContain('▸ 5/5:8 RUN echo "$VERSION $PWD $APP $GREETING" > version\n')
  const session = await platform.client.sessions.create({ template: 'docker' })
  const look = [
    'cat $APP/version; tool; stat -c "%a %u" /usr/local/bin/tool; ls $APP/all; readlink $APP/link; ls /tmp',
    'stat -c "%u:%g %n" $APP $APP/a.txt $APP/deep/b.txt; echo "[$VERSION]"',
  ]
  expect((await session.exec(look.join(';'))).stdout.split('\n')).toEqual([
    '7 /opt/app /opt/app hello',
    'ran',
    '750 0',
    'Dockerfile',
    'run.sh',
    'src',
    'a.txt',
    '0:0 /opt/app',
    '1000:1000 /opt/app/a.txt',
    '1000:1000 /opt/app/deep/b.txt',
    '[]',
    '',
  ])
  await writeFile(join(root, 'Dockerfile'), 'FROM web@1\nRUN true\nCOPY nothing-here /x\n')
  const failed = await command(platform, ['templates', 'build', 'docker', root])
  expect(failed.status).toBe(3)
  expect(failed.stderr).toMatch(
    /step 2 of 2 \(line 3\), "COPY nothing-here \/x", ended with status 1; .*nothing-here is not in the folder/,
  )
  await writeFile(join(root, 'Dockerfile'), 'FROM debian\nRUN true\nFROM x')
  const wrong = await command(platform, ['templates', 'build', 'docker', root])
  expect(wrong).toMatchObject({ status: 2, stderr: expect.stringContaining('DOCKERFILE_INVALID: line 3:') })
})

test('an OCI image becomes a template, every layer of it made anew; what is damaged or no image is refused', async () => {
  const { client } = platform
  const made = await client.sessions.create({ template: 'web@1' })
  await made.exec('echo own > /root/own; rm /etc/motd; truncate -s 100M /root/sparse')
  // A session's file is an OCI image.
  const file = join(folder, 'image.tar')
  expect(await command(platform, ['export', made.id, '-o', file])).toMatchObject({ status: 0 })
  const built = await command(platform, ['templates', 'build', 'image', '--image', file])
  expect(built).toMatchObject({ status: 0, stderr: '', stdout: expect.stringMatching(/✓ image@1/) })
  const { versions } = await client.templates.get('image')
  expect(versions[0]).toMatchObject({ origin: { kind: 'image', base: null } })
  expect(versions[0]?.env.PATH).toContain('/usr/bin')
  const session = await client.sessions.create({ template: 'image' })
  const found = await session.exec(
    'cat /root/own; ls /etc/motd; stat -c %s /root/sparse; dpkg -s cowsay | grep Status; pwd',
  )
  expect(found.stdout).toBe('own\n104857600\nStatus: install ok installed\n/workspace\n')
  await session.run('append a line')
  expect(await session.files.readText('/workspace/lines.txt')).toBe('line\n')

  const whole = await readFile(file)
  whole[whole.length >> 1] = (whole[whole.length >> 1] as number) ^ 1
  await expect(client.templates.fromImage('bad', whole)).rejects.toMatchObject({ code: 'ARCHIVE_CORRUPT' })
  await expect(client.templates.fromImage('bad', Buffer.alloc(1024))).rejects.toMatchObject({ code: 'ARCHIVE_CORRUPT' })
  await writeFile(file, 'this is no tar')
  const refused = await command(platform, ['templates', 'build', 'bad', '--image', file])
  expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining('ARCHIVE_') })
  await expect(client.templates.get('bad')).rejects.toMatchObject({ code: 'UNKNOWN_TEMPLATE' })
  expect((await readdir(join(platform.dataDir, 'scratch'))).filter((name) => name.startsWith('image-'))).toEqual([])
})

test('templates are a project’s own, and what a request must not ask for is refused before anything is done', async () => {
  const { client, key } = await platform.project('other')
  expect((await client.templates.list()).items).toEqual([])
  await expect(client.sessions.create({ template: 'web' })).rejects.toMatchObject({ code: 'UNKNOWN_TEMPLATE' })
  const { versions } = await platform.client.templates.get('web')
  await expect(client.sessions.create({ template: versions[0]!.digest })).rejects.toMatchObject({
    code: 'UNKNOWN_TEMPLATE',
  })
  const refused = async (name: string, body: object): Promise<string> => {
    const init = { method: 'POST', body: JSON.stringify(body), key }
    const response = await platform.fetch(`/v1/templates/${name}/versions`, init)
    const lines = (await response.text()).trim().split('\n')
    return (JSON.parse(lines.at(-1)!) as { code: string }).code
  }
  expect(await refused('standard', {})).toBe('INVALID_REQUEST')
  expect(await refused('Web', {})).toBe('INVALID_REQUEST')
  expect(await refused('web', { packages: ['-o=x'] })).toBe('INVALID_REQUEST')
  expect(await refused('web', { packages: ['a; rm -rf /'] })).toBe('INVALID_REQUEST')
  expect(await refused('web', { env: { 'A B': 'x' } })).toBe('INVALID_REQUEST')
  expect(await refused('web', { from: 'web' })).toBe('UNKNOWN_TEMPLATE')
  expect(await refused('web', { from: '../../etc/passwd' })).toBe('UNKNOWN_TEMPLATE')
  const { id } = await platform.client.sessions.create()
  await expect(platform.client.run({ session: id, template: 'web', prompt: 'x' })).rejects.toMatchObject({
    reason: 'invalid_request',
  })
  await writeFile(join(folder, 'vm0.template.json'), '{"packags": []}')
  const typo = await command(platform, ['templates', 'build', 'web', folder])
  expect(typo).toMatchObject({ status: 2, stderr: expect.stringContaining('"packags"') })
})

test('when the database is lost, templates are made anew from the store, the newest promoted', async () => {
  const { items } = await platform.client.templates.list()
  const digests = items.map(({ versions }) => versions.map(({ digest }) => digest))
  await platform.down()
  await rm(join(platform.dataDir, 'db'), { recursive: true })
  const rebuilt = await command(platform, ['fsck', '--rebuild', '--data', platform.dataDir, '--json'])
  expect(objects(rebuilt)[0]).toMatchObject({ templates: digests.flat().length, problems: [] })
  await platform.up()
  const again = await platform.client.templates.list()
  expect(again.items.map(({ versions }) => versions.map(({ digest }) => digest))).toEqual(digests)
  const session = await platform.client.sessions.create({ template: 'warm' })
  expect((await session.exec('tool; echo "$GREETING"')).stdout).toBe('tool\nhello\n')
})

test('a manifest names nothing of the platform', async () => {
  const { items } = await platform.client.sessions.list()
  const head = items.find((session) => session.framework && session.head)?.head
  const text = await readFile(join(platform.dataDir, 'objects/manifests', head!.replace(':', '-')), 'utf8')
  const manifest = JSON.parse(text) as { template: string; layers: object[] }
  expect(manifest.template).toMatch(/^sha256:[0-9a-f]{64}$/)
  const strings: string[] = []
  JSON.stringify(manifest, (_key, value: unknown) => {
    if (typeof value === 'string') strings.push(value)
    return value
  })
  expect(strings.filter((value) => value.includes('/') || value.includes(platform.directory))).toEqual([])
})
