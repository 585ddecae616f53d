// The two packages that are published, laid out in a folder as npm is to pack them. The other workspace packages are not
// published: their files go inside, and imports of `@vm0/…` become relative ones (docs/decisions/0002-two-packages.md).
import { cp, mkdir, readFile, readdir, writeFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { plainTypes } from './plain-types.mjs'

const built = /\.(js|d\.ts)$/

/** `vm0`: the SDK and the command. Of the contract it holds what a client needs, with types that need no zod. */
export async function stageSdk(stage) {
  const inside = { 'contract/client': 'dist/contract/client.js' }
  await copyBuilt('vm0', stage, '.', inside)
  for (const [module, text] of await contractForClients()) await put(stage, `dist/contract/${module}`, text, inside)
  const { dependencies, ...manifest } = await readManifest('vm0')
  await writeManifest(stage, manifest, registryOnly([dependencies]))
  await cp('README.md', join(stage, 'README.md'))
}

/** `@vm0/platform`: everything else. It is used through the command, so the `vm0` of the same version belongs beside it. */
export async function stagePlatform(stage) {
  const names = await withInnerDependencies('platform')
  const inside = Object.fromEntries(names.map((name) => [name, join(folderOf(name), 'dist/index.js')]))
  for (const name of names) await copyBuilt(name, stage, folderOf(name), inside)
  const manifests = await Promise.all(names.map(readManifest))
  const [manifest] = manifests
  await writeManifest(stage, manifest, registryOnly(manifests.map(({ dependencies }) => dependencies)), {
    peerDependencies: { vm0: manifest.version },
  })
  await cp('packages/platform/README.md', join(stage, 'README.md'))
}

const folderOf = (name) => (name === 'platform' ? '.' : join('packages', name))

async function readManifest(name) {
  return JSON.parse(await readFile(join('packages', name, 'package.json'), 'utf8'))
}

/** The package and all workspace packages that it needs, itself first. */
async function withInnerDependencies(root) {
  const names = new Set([root])
  for (const name of names) {
    for (const dependency of Object.keys((await readManifest(name)).dependencies))
      if (dependency.startsWith('@vm0/')) names.add(dependency.slice('@vm0/'.length))
  }
  return [...names]
}

/** What npm has to install: the packages' dependencies together, without the workspace's own. */
function registryOnly(dependencies) {
  const all = {}
  for (const [name, range] of dependencies.flatMap(Object.entries)) {
    if (name.startsWith('@vm0/')) continue
    if (all[name] && all[name] !== range) throw new Error(`${name} is wanted as ${all[name]} and as ${range}`)
    all[name] = range
  }
  return Object.fromEntries(Object.entries(all).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

/** Compiled modules that still have a source and aren't tests, and the other folders that the manifest lists. */
async function copyBuilt(name, stage, folder, inside) {
  const from = join('packages', name)
  for (const path of await readdir(join(from, 'dist'), { recursive: true })) {
    const source = join(from, 'src', path.replace(built, '.ts'))
    if (!built.test(path) || path.includes('.test.') || !existsSync(source)) continue
    await put(stage, join(folder, 'dist', path), await readFile(join(from, 'dist', path), 'utf8'), inside)
  }
  for (const entry of (await readManifest(name)).files)
    if (entry !== 'dist' && !entry.startsWith('!'))
      await cp(join(from, entry), join(stage, folder, entry), { recursive: true })
}

/** Name and text of the contract's modules that its part for clients exports, with those that they are made of. */
async function contractForClients() {
  const folder = 'packages/contract'
  const read = (path) => readFile(join(folder, path), 'utf8')
  const modules = []
  for (const extension of ['js', 'd.ts']) {
    const index = await read(`dist/client.${extension}`)
    modules.push([`client.${extension}`, index])
    const names = new Set(imported(index))
    // What is found on the way is looked at too.
    for (const name of names) {
      const hasSchemas = (await read(`src/${name}.ts`)).includes("from 'zod'")
      if (hasSchemas && extension === 'js') throw new Error(`contract/client must not load zod, but ${name} does`)
      const text = hasSchemas ? plainTypes(join(folder, `src/${name}.ts`)) : await read(`dist/${name}.${extension}`)
      modules.push([`${name}.${extension}`, text])
      for (const other of imported(text)) names.add(other)
    }
  }
  return modules
}

const imported = (text) => [...text.matchAll(/from '\.\/([a-z-]+)\.js'/g)].map(([, name]) => name)

/** Writes a module: imports of packages that are inside lead to their files, and there are no source maps. */
async function put(stage, path, text, inside) {
  const target = join(stage, path)
  const rewritten = text
    .replaceAll(/(['"])@vm0\/([a-z/]+)\1/g, (whole, quote, name) => {
      if (!inside[name]) return whole
      const link = relative(dirname(path), inside[name])
      return `${quote}${link.startsWith('.') ? link : `./${link}`}${quote}`
    })
    .replace(/\n\/\/# sourceMappingURL=.*\n?$/, '\n')
  await mkdir(dirname(target), { recursive: true })
  await writeFile(target, rewritten)
}

async function writeManifest(stage, manifest, dependencies, more = {}) {
  const { name, version, description, license, type, engines, bin, exports } = manifest
  const { source: _, ...entry } = exports['.']
  const published = { name, version, description, license, type, engines, bin, exports: { '.': entry } }
  await writeFile(join(stage, 'package.json'), `${JSON.stringify({ ...published, dependencies, ...more }, null, 2)}\n`)
  await cp('LICENSE', join(stage, 'LICENSE'))
}
