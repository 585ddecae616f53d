import { loadScript, type ParsedScript } from './script.js'

/** What the scripted model answers to the prompts of `npm run quickstart` and of the examples. */
export function quickstartScript(): ParsedScript {
  return loadScript(new URL('../scripts/quickstart.json', import.meta.url))
}
