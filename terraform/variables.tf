variable "project" {
  description = "Google Cloud project that everything is in."
  type        = string
}

variable "region" {
  description = "Region of buckets, key, topics' encryption and programs. They belong together: reading across regions costs money and time."
  type        = string
  default     = "us-central1"
}

variable "name" {
  description = "Start of the names of accounts, programs and the key ring, so that two lakes fit into one project."
  type        = string
  default     = "ingest"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,14}$", var.name))
    error_message = "name: 2 to 15 lower-case letters, digits and hyphens, a letter first (accounts are called <name>-compactor, in at most 30 characters)."
  }
}

variable "bucket_prefix" {
  description = "Start of the four buckets' names, which are unique in the world: <bucket_prefix>-data and so on. Null: the project and var.name."
  type        = string
  default     = null
}

# Adding a data type is one line here, and its definition file in schema/definitions
# or in the lake's metadata/schemas/.
variable "data_types" {
  description = "Data types that are received, each with its topic."
  type        = map(string)
  default = {
    market_data  = "market-data"
    options_data = "options-data"
    forecasts    = "forecasts"
  }

  validation {
    condition     = !contains(keys(var.data_types), "dead_letters") && !contains(values(var.data_types), "dead-letters")
    error_message = "data_types: dead_letters is there already."
  }
}

variable "encrypt_topics" {
  description = "Encrypt messages on the topics with the lake's key too. While the key cannot be used, nothing can be published."
  type        = bool
  default     = false
}

variable "soft_delete_days" {
  description = "Days that a deleted or overwritten object of the data and archive buckets can be brought back. They are paid for as stored."
  type        = number
  default     = 7

  validation {
    condition     = var.soft_delete_days >= 7 && var.soft_delete_days <= 90
    error_message = "soft_delete_days: 7 to 90."
  }
}

variable "image_ingestor" {
  description = "Container image of the ingestor, best with its digest (terraform/Dockerfile, target ingestor)."
  type        = string
}

variable "image_compactor" {
  description = "Container image of the compactor, best with its digest (terraform/Dockerfile, target compactor)."
  type        = string
}

variable "ingestor_instances" {
  description = "Ingestors at once. One is enough until it is busy; any number may run."
  type        = number
  default     = 1

  validation {
    condition     = var.ingestor_instances >= 0
    error_message = "ingestor_instances: not negative. 0 stops intake; messages wait in their subscriptions for up to 7 days."
  }
}

variable "ingestor_memory_mib" {
  description = "Memory of one ingestor. A quarter of it holds rows and messages (MEMORY_BUDGET), the rest is for flushes under way and the program."
  type        = number
  default     = 1024

  validation {
    condition     = var.ingestor_memory_mib >= 512
    error_message = "ingestor_memory_mib: at least 512."
  }
}

variable "compactor_memory_mib" {
  description = "Memory of the compactor and of the sweeper. A quarter of it is for the partitions worked on at once (COMPACT_MEMORY_BUDGET)."
  type        = number
  default     = 4096

  validation {
    condition     = var.compactor_memory_mib >= 2048
    error_message = "compactor_memory_mib: at least 2048."
  }
}

variable "compactor_schedule" {
  description = "When the compactor runs, as cron in UTC. A run that meets another costs work, never rows."
  type        = string
  default     = "*/15 * * * *"
}

variable "sweeper_schedule" {
  description = "When the sweep runs, as cron in UTC: it archives consumed raw files and deletes what the tables no longer hold."
  type        = string
  default     = "7 * * * *"
}

variable "ingestor_env" {
  description = "Further settings of the ingestor, such as { LEVELS = \"market_data=STRICT\" }; ingestor --help lists them."
  type        = map(string)
  default     = {}
}

variable "compactor_env" {
  description = "Further settings of the compactor and the sweeper, such as { RETAIN = \"720h\" }; compactor --help lists them."
  type        = map(string)
  default     = {}
}

variable "publishers" {
  description = "Who may publish to the data topics: the fetchers, such as serviceAccount:bot@my-project.iam.gserviceaccount.com."
  type        = set(string)
  default     = []
}

variable "operators" {
  description = "Who may act as the operator and as the backfill, such as group:lake-operators@example.com."
  type        = set(string)
  default     = []
}

variable "analysts" {
  description = "Who may act as the reader, such as group:analysts@example.com."
  type        = set(string)
  default     = []
}
