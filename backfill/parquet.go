package backfill

import "errors"

func parquetColumns(o *opened) ([]string, error) { return nil, errors.New("Parquet") }

func parquetRecords(o *opened, m *mapping) (records, error) { return nil, errors.New("Parquet") }
