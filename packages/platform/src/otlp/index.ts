export { OtlpExporter } from './exporter.js'
export { signals, type OtlpSettings } from './settings.js'
