package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/alecthomas/kong"
)

// terraformFields are the fields of the output storage_config, by the variable
// whose setting they are.
var terraformFields = map[string]string{
	"GCS_DATA_BUCKET":           "data_bucket_name",
	"GCS_ARCHIVE_BUCKET":        "archive_bucket_name",
	"GCS_BACKUP_BUCKET":         "backup_bucket_name",
	"GCS_TEMP_BUCKET":           "temp_bucket_name",
	"GCS_SERVICE_ACCOUNT_EMAIL": "storage_service_account_email",
	"GCS_KMS_KEY_ID":            "storage_kms_key_id",
	"GCS_REGION":                "region",
}

// outputs are what terraform output -json printed: an object for each output,
// with its value.
type outputs struct {
	name      string
	storage   map[string]any
	variables map[string]any
}

// openOutputs reads terraform's output and says everything that is wrong with it.
func openOutputs(name string) (*outputs, []error) {
	data, err := readBounded(name)
	if err != nil {
		return nil, []error{fmt.Errorf("terraform output %w", err)}
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil || all == nil {
		return nil, []error{fmt.Errorf("terraform output %s: not what terraform output -json prints: %w", name, shapeError(err))}
	}
	o := &outputs{name: name}
	var problems []error
	read := func(output string, into *map[string]any) {
		value, err := outputValue(all[output])
		if err != nil {
			problems = append(problems, fmt.Errorf("terraform output %s: %s: %w", name, output, err))
		}
		*into = value
	}
	read("storage_config", &o.storage)
	read("deployment_variables", &o.variables)
	if all["storage_config"] == nil && all["deployment_variables"] == nil {
		problems = append(problems, fmt.Errorf("terraform output %s: it has neither storage_config nor deployment_variables; run terraform apply, then terraform output -json", name))
	}
	return o, problems
}

func shapeError(err error) error {
	var wrongType *json.UnmarshalTypeError
	if err == nil || errors.As(err, &wrongType) {
		return errors.New("an object of outputs is wanted")
	}
	return err
}

// outputValue is the value of one output, none where it is absent or null.
func outputValue(raw json.RawMessage) (map[string]any, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var output struct {
		Value *json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(raw, &output); err != nil {
		return nil, errors.New("want an object with a value")
	}
	if output.Value == nil {
		return nil, nil
	}
	var value map[string]any
	decoder := json.NewDecoder(bytes.NewReader(*output.Value))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return nil, errors.New("its value must be an object")
	}
	return value, nil
}

// lookup implements place.
func (o *outputs) lookup(_ []string, flag *kong.Flag) (any, string, error) {
	var wrong error
	for _, variable := range flag.Envs {
		for _, in := range []struct {
			output, field string
			value         any
		}{
			{"storage_config", terraformFields[variable], o.storage[terraformFields[variable]]},
			{"deployment_variables", variable, o.variables[variable]},
		} {
			source := fmt.Sprintf("%s: %s.value.%s", o.name, in.output, in.field)
			switch v := in.value.(type) {
			case nil:
			case string:
				if v != "" {
					return v, source, nil
				}
			case bool, json.Number:
				return fmt.Sprint(v), source, nil
			default:
				wrong = fmt.Errorf("--%s: want one value (from %s)", flag.Name, source)
			}
		}
	}
	return nil, "", wrong
}
